"""A record as read from Kafka."""

from msgspec import Struct


class Record(Struct, frozen=True, gc=False):
    """`timestamp` is the broker's (ms since 1970), `value` b"" for a tombstone."""

    partition: int
    offset: int
    timestamp: int
    value: bytes
