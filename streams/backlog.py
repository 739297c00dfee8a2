"""A partition whose records wait until the stage does them, some at a time. Every stage but the
sequencer has such partitions.

Reading goes on while a block of records is done, until the backlog is full. If trouble outside
comes in the middle of a block, the stage does the whole block again. So doing a block twice must be
as good as doing it once.
"""

import abc
import asyncio
import contextlib
import itertools
import logging
from collections import deque
from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from connectors.kafka.record import Record
from schemas.codec import NewerVersion, Undecodable
from streams.partition import Halt, Partition, PartitionRuntime

log = logging.getLogger(__name__)

MAX_WAITING = 50_000
"""Facts read and not done, per partition; beyond them it reads no more."""
_BLOCK_FACTS = 200

Fact = TypeVar("Fact")
FactIn = TypeVar("FactIn", contravariant=True)


class HasLast(Protocol):
    """A block; when it is done, all records up to offset `last` are."""

    @property
    def last(self) -> int: ...


Block = TypeVar("Block", bound=HasLast)


class Backlog(Protocol[FactIn, Block]):
    """Records that wait, and when they are done. `now` in seconds."""

    @property
    def full(self) -> bool: ...

    @property
    def empty(self) -> bool: ...

    def add(self, record: Record, facts: Sequence[FactIn], now: float) -> None:
        """A record and the facts (maybe none) that it holds."""

    def due(self, now: float) -> float:
        """Seconds until the next block should be done, 0 if now, infinite if there is nothing."""

    def take(self, now: float) -> Block:
        """The next block."""

    def done(self, block: Block) -> None:
        """The block that was taken is done."""


class Told(NamedTuple, Generic[Fact]):
    """A fact with the broker's time (ms) and the offset of its record."""

    fact: Fact
    time: int
    offset: int


class Facts(NamedTuple, Generic[Fact]):
    """A block of facts. When it is done, all records up to offset `last` are."""

    facts: Sequence[Told[Fact]]
    last: int


class FactBacklog(Generic[Fact]):
    """`Backlog` in the order of the records, done a few facts at a time: a block of them takes
    about 5 ms of the loop. A record may be cut; it is done with its last fact.

    Facts wait for the next multiple of `every` seconds on the loop's clock, which is the same
    moment for all partitions of a process; a whole block does not wait.
    """

    def __init__(self, every: float = 0.0) -> None:
        self._every = every
        self._due = 0.0
        self._facts: deque[Told[Fact]] = deque()
        self._added = self._done = -1
        """The last record that was added, and the last that is done."""

    @property
    def full(self) -> bool:
        return len(self._facts) > MAX_WAITING

    @property
    def empty(self) -> bool:
        return self._done == self._added

    def __len__(self) -> int:
        return len(self._facts)

    def add(self, record: Record, facts: Sequence[Fact], now: float) -> None:
        offset, time = record.offset, record.timestamp
        if self.empty and self._every:
            self._due = (now // self._every + 1) * self._every
        self._facts.extend(Told(fact, time, offset) for fact in facts)
        self._added = offset

    def due(self, now: float) -> float:
        if self.empty:
            return float("inf")
        return 0.0 if len(self._facts) >= _BLOCK_FACTS else max(0.0, self._due - now)

    def take(self, now: float) -> Facts[Fact]:
        """The first facts. They count as waiting until they are done."""
        facts = list(itertools.islice(self._facts, _BLOCK_FACTS))
        whole = len(facts) == len(self._facts)
        return Facts(facts, self._added if whole else self._facts[len(facts)].offset - 1)

    def done(self, block: Facts[Fact]) -> None:
        for _ in block.facts:
            self._facts.popleft()
        self._done = block.last


class BacklogPartition(Partition, abc.ABC, Generic[Fact, Block]):
    """`backlog` holds what has been read. A record that cannot be decoded halts the partition if
    `must_decode`, else it is left out, counted and logged."""

    must_decode = False

    def __init__(
        self, number: int, runtime: PartitionRuntime, backlog: Backlog[Fact, Block]
    ) -> None:
        super().__init__(number, runtime)
        self.backlog = backlog
        self.under_way: Block | None = None
        self._grown = asyncio.Event()

    @abc.abstractmethod
    def decode(self, record: Record) -> Sequence[Fact]:
        """The facts of a record. Raises Undecodable, NewerVersion."""

    @abc.abstractmethod
    async def apply(self, block: Block) -> None:
        """Do a block; returns when nothing of it is left to do. Trouble outside: it is called again
        with the same block."""

    @property
    def full(self) -> bool:
        return self.backlog.full

    @property
    def idle(self) -> bool:
        return self.backlog.empty

    def accept(self, records: Sequence[Record]) -> None:
        now = asyncio.get_running_loop().time()
        try:
            for record in records:
                try:
                    facts = self.decode(record)
                except NewerVersion as error:
                    raise Halt(
                        f"record {record.offset} of {self.runtime.topic}: {error};"
                        " deploy that version and restart"
                    ) from None
                except Undecodable as error:
                    facts = self._unreadable(record, error)
                self.backlog.add(record, facts, now)
                self._next = record.offset + 1
                self.figures["records"] += 1
        finally:
            self.figures["events"] += 1
            self._grown.set()

    def _unreadable(self, record: Record, error: Undecodable) -> Sequence[Fact]:
        if self.must_decode:
            raise Halt(f"record {record.offset} of {self.runtime.topic} cannot be read: {error}")
        self.figures["unreadable"] += 1
        log.error("%s: input record %d is left out: %s", self.name, record.offset, error)
        return ()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while (wait := self.backlog.due(loop.time())) > 0:
                self._grown.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(None if wait == float("inf") else wait):
                        await self._grown.wait()
            block = self.under_way = self.backlog.take(loop.time())
            await self.retry(lambda block=block: self.apply(block), *self.retry_seconds)  # type: ignore[misc]
            self.backlog.done(block)
            self.under_way = None
            self._committable = block.last + 1
            self.progress += 1

    def report(self) -> dict[str, Any]:
        return super().report() | {"next": self._next, "done": self.committable}
