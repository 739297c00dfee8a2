"""One partition of the log, as the judge reads it: is it the fold of its input?"""

import zlib
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import NamedTuple

from connectors.kafka.memory_broker import MemoryBroker
from connectors.kafka.record import Record
from ops.audit.fold import SecondFold
from schemas.codec import decode_log
from schemas.events import Taken
from schemas.topics import LOG, SUBMITTED


class _Covered(NamedTuple):
    """The last input record that a log record covers, and its fingerprint."""

    offset: int
    fingerprint: tuple[int, int]


class JudgedLog:
    """One partition: what the log says (R2), and what the fold of the input says."""

    def __init__(self, broker: MemoryBroker, partition: int) -> None:
        self.taken: list[Taken] = []
        self.expected: list[Taken] = []
        self.position = -1
        self._broker = broker
        self._partition = partition
        self._offset = 0
        self.aside: set[int] = set()
        """Input offsets that halt the partition, until an operator sets them aside."""
        self._expired: list[Record] = []
        """What Kafka has no more, because it was to expire."""
        self._cuts = self._input_cuts = 0
        self._covered: list[_Covered] = []
        self._begin_fold()

    def _begin_fold(self) -> None:
        self.expected = []
        self._fold = SecondFold()

    @property
    def dead(self) -> int:
        """Items of the input that no decoder reads."""
        return self._fold.set_aside

    def will_expire(self, before: int) -> None:
        """Keep the log's records before an offset."""
        log = self._broker.log(LOG, self._partition)
        self._expired += log.read(log.start, before)

    def read(self) -> Iterator[str]:
        """Read on in both; yields what is wrong with the log."""
        log = self._broker.log(LOG, self._partition)
        if log.cuts != self._cuts:
            self._cuts, self._offset, self.position, self.taken = log.cuts, 0, -1, []
            self._covered = []
        expired = [record for record in self._expired if record.offset >= self._offset]
        for record in (*expired, *log.read(self._offset, log.end)):
            self._offset = record.offset + 1
            entry = decode_log(record.value)
            if entry.from_ > self.position + 1 or entry.to <= self.position:
                continue
            fresh = [item for item in entry.taken if item.offset > self.position]
            self.taken += fresh
            self.position = entry.to
            self._covered.append(_Covered(entry.to, (entry.input_time, entry.input_crc)))
        source = self._broker.log(SUBMITTED, self._partition)
        if source.cuts != self._input_cuts:
            self._input_cuts = source.cuts
            self._begin_fold()
        if self.lacks_input:
            yield from self._goes_on()
            return
        start = self._fold.position + 1
        for record in source.read(start, source.end):
            if record.offset in self.aside:
                self._fold.skip(record.offset, record.value)
            else:
                self.expected += self._fold.record(record.offset, record.timestamp, record.value)
        # the log was read first, so the fold has come at least as far
        if self.taken != self.expected[: len(self.taken)]:
            yield _not_the_fold(self._partition, self.taken, self.expected)

    def _is_there(self, covered: _Covered) -> bool:
        """Whether the input has the record that was folded."""
        found = self._broker.log(SUBMITTED, self._partition).read(
            covered.offset, covered.offset + 1
        )
        return [(one.timestamp, zlib.crc32(one.value)) for one in found] == [covered.fingerprint]

    @property
    def lacks_input(self) -> bool:
        """The input has lost records of which the log has the fold."""
        return self._input_cuts > 0 and not all(map(self._is_there, self._covered))

    def _goes_on(self) -> Iterator[str]:
        lost = False
        for covered in self._covered:
            if not self._is_there(covered):
                lost = True
            elif lost:
                yield (
                    f"{LOG}/{self._partition} goes on with {SUBMITTED} offset {covered.offset},"
                    " although the input has lost what was folded before it"
                )
                return


def _not_the_fold(partition: int, taken: Sequence[Taken], expected: Sequence[Taken]) -> str:
    is_, must = next(pair for pair in zip_longest(taken, expected) if pair[0] != pair[1])
    gives = _place(must) if must else "nothing more"
    return (
        f"{LOG}/{partition} is not the fold of its input: it has {_place(is_)}, and the fold gives"
        f" {gives}"
    )


def _place(item: Taken) -> str:
    return (
        f"{item.conversation} {item.seq} {item.body!r} ← {SUBMITTED} offset {item.offset},"
        f" ordinal {item.ordinal} of outbox {item.outbox.hex()[:4]}"
    )
