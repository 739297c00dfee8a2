"""Where the archive and its topics are."""

from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from connectors.environment import SettingsError
from ops.local.home import DEFAULT_HOME, Home
from ops.local.parts import clickhouse_url
from ops.local.security import kafka_address


class ArchiveSettings(Struct, frozen=True):
    """One field for each variable MESSENGER_<FIELD> (docs/SETTINGS.md). Of a local stack, what is
    unset."""

    clickhouse_admin: str = ""
    """The archive's `http[s]://admin:password@host:port`. Unset: the local stack's."""
    kafka: str = ""
    home: str = DEFAULT_HOME
    """The folder of a local stack, from which a command takes what it is not told."""
    base_port: int | None = None
    """The first port of a local stack that does not run. Unset: what the stack itself has noted."""
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
        home = Home(Path(self.home))
        return self.kafka or kafka_address(home, home.base_port(self.base_port))

    @property
    def partition_count(self) -> int:
        return self.partitions or Home(Path(self.home)).partitions(None)
