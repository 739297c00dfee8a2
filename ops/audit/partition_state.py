"""What the judge of a partition reads, what it keeps, and why it may be unable to judge."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import msgspec

from ops.audit.fold import SecondFold


class KafkaRecord(Protocol):
    """A record as any Kafka client gives it. `timestamp` is the broker's, in ms."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def value(self) -> bytes: ...


class CountersSeen(NamedTuple):
    """A worker's counters: the fold of log[0..log_offset]."""

    log_offset: int
    seqs: Mapping[str, int]


class CannotJudge(Exception):
    """Something that the judge needs is gone, or newer than the judge. The text says what."""


class PartitionState(msgspec.Struct):
    """How far a partition has been judged, and what the fold has come to there.

    `position`: the last input offset that the log covers. `log_end`: the log offset to read next.
    `furthest`: the last input offset that any record of the log names. `differ`: conversation →
    last number by the log, where it is not the fold's. `skips`: ranges of input offsets that an
    operator has set aside, by the input up to before offset `looked`.
    """

    fold: SecondFold = msgspec.field(default_factory=SecondFold)
    position: int = -1
    log_end: int = 0
    furthest: int = -1
    differ: dict[str, int] = msgspec.field(default_factory=dict)
    skips: list[tuple[int, int]] = msgspec.field(default_factory=list)
    looked: int = 0
