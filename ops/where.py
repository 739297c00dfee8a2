"""Where an operator's commands find the system: by settings, else by the local stack."""

from pathlib import Path
from typing import Annotated, NamedTuple

from msgspec import Meta, Struct

from ops.local.home import DEFAULT_HOME, Home
from ops.local.security import kafka_address, redis_address


class OperatorSettings(Struct, frozen=True):
    """One field for each variable MESSENGER_<FIELD> (docs/SETTINGS.md). Of a local stack, what is
    unset."""

    kafka: str = ""
    redis: str = ""
    home: str = DEFAULT_HOME
    base_port: int | None = None
    partitions: Annotated[int, Meta(ge=1)] | None = None

    def where(self) -> "Where":
        """Raises SettingsError if neither settings nor a local stack say it."""
        home = Home(Path(self.home))
        kafka, redis, base_port = self.kafka, self.redis, None
        if not kafka or not redis:
            base_port = home.base_port(self.base_port)
            kafka = kafka or kafka_address(home, base_port)
            redis = redis or redis_address(home, base_port)
        return Where(kafka, redis, self.partitions or home.partitions(None), base_port)


class Where(NamedTuple):
    """`base_port` of the local stack, None if none was needed."""

    kafka: str
    redis: str
    partitions: int
    base_port: int | None
