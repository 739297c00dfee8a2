"""A record as read from Kafka."""

from typing import NamedTuple


class Record(NamedTuple):
    """`timestamp` is the broker's (ms since 1970), `value` b"" for a tombstone."""

    partition: int
    offset: int
    timestamp: int
    value: bytes
