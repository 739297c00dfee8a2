"""A record as read from Kafka."""

from msgspec import Struct


class Record(Struct, frozen=True, gc=False):
    """`timestamp` is the broker's (ms since 1970), `value` b"" for a tombstone. `epoch` is that of
    the leader that took the record: each new leader of a partition has a higher one. −1: not
    known."""

    partition: int
    offset: int
    timestamp: int
    value: bytes
    epoch: int = -1
