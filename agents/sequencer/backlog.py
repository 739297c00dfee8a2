"""What a partition has folded and may still have to deliver: batches in memory, or the log.

Memory holds every batch that has not landed in the log yet, so whatever it does not hold can be
read from the log.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import islice

from agents.rules.batch import Batch
from agents.rules.fold import OutOfStep, Repeat
from agents.rules.log import Verdict, judge, news
from connectors.kafka.record import Record
from schemas.codec import decode_log
from schemas.events import Taken

MAX_BYTES = 8 * 1024 * 1024
"""Landed batches in memory per partition, by the size of their log records. The appender
bounds the batches that have not landed."""
LOOKUP_MESSAGES = 2000
"""About as many messages and answers share one lookup of routes."""
_MAX_SPANS = 1000

ReadLog = Callable[[int], AsyncIterator[list[Record]]]
"""`read_log(start)`: records from log offset `start` to the present end, one list for each fetch.
Raises ReadTimeout, OffsetGone."""


class Backlog:
    """`offered` is the last input offset to deliver. The log holds what follows the input offset
    given to `delivered` from its offset `log_from` on."""

    def __init__(self, read_log: ReadLog, position: int, log_from: int) -> None:
        self.offered = position
        self.log_from = log_from
        self._read_log = read_log
        self._landed = position
        self._needed = position
        self._held: deque[tuple[Batch, int]] = deque()
        self._bytes = 0
        self._spans: deque[tuple[int, int]] = deque()

    def offer(self, batch: Batch, size: int) -> None:
        """Remember a batch of the fold, `size` bytes as a log record."""
        self.offered = batch.last
        self._held.append((batch, size))
        self._bytes += size
        if self._bytes > MAX_BYTES:
            self._forget()

    def landed(self, log_offset: int, to: int) -> None:
        """The log record at `log_offset` covers the input up to offset `to`."""
        if to > self._landed:
            self._landed = to
            self._forget()
        if len(self._spans) < _MAX_SPANS and (not self._spans or to > self._spans[-1][1]):
            self._spans.append((log_offset + 1, to))

    def needed(self, after: int) -> None:
        """Batches up to input offset `after` are not needed in memory once they have landed."""
        self._needed = after
        self._forget()

    def delivered(self, position: int) -> None:
        """Everything up to an input offset is delivered."""
        while self._spans and self._spans[0][1] <= position:
            self.log_from = self._spans.popleft()[0]

    def held(self, after: int) -> list[Batch] | None:
        """The batches after an input offset, as many as one lookup should carry; None if memory
        lacks the first of them."""
        if self._held:
            newest = self._held[-1][0]
            if newest.first <= after + 1 <= newest.last:
                return [newest]
        index = bisect_right(self._held, after, key=_last)
        batches: list[Batch] = []
        count = 0
        for batch, _ in islice(self._held, index, None):
            if not batches and batch.first > after + 1:
                return None
            batches.append(batch)
            count += len(batch.outcome.taken) + len(batch.outcome.answers)
            if count >= LOOKUP_MESSAGES:
                break
        return batches if batches or after >= self.offered else None

    async def from_log(self, after: int) -> AsyncIterator[tuple[list[Taken], int]]:
        """What the log holds after an input offset, as (taken, last input offset), as much at a
        time as one lookup should carry. Raises ReadTimeout, OffsetGone."""
        async for records in self._read_log(self.log_from):
            taken: list[Taken] = []
            to = after
            for record in records:
                entry = decode_log(record.value)
                if judge(to, entry) is not Verdict.TAKE:
                    continue
                taken += news(to, entry)
                to = entry.to
                self.landed(record.offset, to)
                if len(taken) >= LOOKUP_MESSAGES:
                    yield taken, to
                    taken, after = [], to
            if to > after:
                yield taken, to
                after = to

    def _forget(self) -> None:
        held = self._held
        while (
            held
            and (last := held[0][0].last) <= self._landed
            and (last <= self._needed or self._bytes > MAX_BYTES)
        ):
            self._bytes -= held.popleft()[1]


def contents(batches: Sequence[Batch], after: int) -> tuple[list[Taken], list[Repeat | OutOfStep]]:
    """What consecutive batches have taken after an input offset, and their answers."""
    if len(batches) == 1 and batches[0].first > after:
        return batches[0].outcome.taken, batches[0].outcome.answers
    taken: list[Taken] = []
    answers: list[Repeat | OutOfStep] = []
    for batch in batches:
        outcome = batch.outcome
        taken += (
            outcome.taken
            if batch.first > after
            else [item for item in outcome.taken if item.offset > after]
        )
        answers += outcome.answers
    return taken, answers


def _last(held: tuple[Batch, int]) -> int:
    return held[0].last
