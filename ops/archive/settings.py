"""Where the archive and its topics are."""

from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from connectors.environment import SettingsError
from ops.local.home import DEFAULT_HOME, Home
from ops.local.parts import clickhouse_url


class ArchiveSettings(Struct, frozen=True):
    """MESSENGER_CLICKHOUSE_ADMIN, MESSENGER_KAFKA and MESSENGER_PARTITIONS (the local stack's by
    default), MESSENGER_HOME and MESSENGER_BASE_PORT of that stack, MESSENGER_SLOTS."""

    clickhouse_admin: str = ""
    kafka: str = ""
    home: str = DEFAULT_HOME
    base_port: int | None = None
    partitions: Annotated[int, Meta(ge=1, le=10_000)] | None = None
    slots: Annotated[int, Meta(ge=1, le=10_000)] = 8

    @property
    def admin_url(self) -> str:
        if self.clickhouse_admin:
            return self.clickhouse_admin
        if not Path(self.home).exists():
            raise SettingsError(
                f"not set: MESSENGER_CLICKHOUSE_ADMIN, and there is no local stack in {self.home}"
            )
        home = Home(Path(self.home))
        return clickhouse_url(home, home.base_port(self.base_port), "admin")

    @property
    def kafka_address(self) -> str:
        return self.kafka or f"127.0.0.1:{Home(Path(self.home)).base_port(self.base_port) + 8}"

    @property
    def partition_count(self) -> int:
        return self.partitions or Home(Path(self.home)).partitions(None)
