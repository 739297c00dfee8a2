"""The life cycle that every partition of every stage shares.

    assigned ─→ restoring ─→ running ─→ released
                    └────────────┴─→ halted: membership kept, nothing read, health red

A stage says how a partition restores its state, what it does with records, what runs beside the
reading, and how it gives its state back. Everything else is here: offsets, the guard around
records, waiting for trouble outside, and the tasks.

Trouble outside never halts a partition (streams/retry.py). Only a record that contradicts the
state, or that a newer version wrote, does. After any other fault of ours the stage begins the
partition anew, later and later. The file is longer than others because a life cycle is checked by
reading it in one piece.
"""

import abc
import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from enum import Enum
from typing import Any, NamedTuple, TypeVar

from connectors.kafka.record import Record
from schemas.codec import NewerVersion
from streams.inputs import Inputs, InputSeen
from streams.restores import Restores
from streams.retry import FIRST_SECONDS, LAST_SECONDS, Retry

log = logging.getLogger(__name__)

T = TypeVar("T")

_RELEASE_SECONDS = 2.0
"""Faust may swallow a cancellation; a task that does not end by then is left alone."""


class Status(Enum):
    """Of a partition. ASSIGNED: it waits for its turn to restore."""

    ASSIGNED = "assigned"
    RESTORING = "restoring"
    RUNNING = "running"
    HALTED = "halted"
    RELEASED = "released"


class Halt(Exception):
    """What the partition has read contradicts its state, or needs a person; the text says which and
    what to do. `skips` are the input offsets, first and last, that an operator may set aside."""

    def __init__(self, text: str, skips: tuple[int, int] | None = None) -> None:
        super().__init__(text)
        self.skips = skips


class Stopped(Exception):
    """Somebody released the partition while it was being restored."""


class PartitionRuntime(NamedTuple):
    """What a stage gives each of its partitions. `now` is the wall clock in ms; `seek(partition)`
    makes the consumer read from the partition's `next_offset` on; `restart(partition, why)` begins
    a partition anew; `confirmed` says whether no other worker can have the stage's partitions."""

    stage: str
    topic: str
    figures: Counter[str]
    inputs: Inputs
    restores: Restores
    retry: Callable[[str], Retry]
    seek: Callable[[int], Awaitable[None]]
    restart: Callable[[int, str], None]
    now: Callable[[], int]
    confirmed: Callable[[], bool]


class Partition(abc.ABC):
    """One partition on one worker. `start` it inside a running loop; `close` it."""

    retry_seconds = FIRST_SECONDS, LAST_SECONDS
    """The waits between two tries grow from the first to the last."""

    def __init__(self, number: int, runtime: PartitionRuntime) -> None:
        self.number = number
        self.name = f"{runtime.stage} partition {number}"
        self.status = Status.ASSIGNED
        self.reason = ""
        """Why it is halted."""
        self.skips: tuple[int, int] | None = None
        """The input offsets, first and last, that an operator may set aside, so that it goes on."""
        self.restore_progress: tuple[int, int] | None = None
        """How many records the restore has read, and of how many."""
        self.progress = 0
        """Grows with whatever this partition gets done; the watchdog looks at it."""
        self.seen: InputSeen | None = None
        """The input as Kafka had it at the last look."""
        self.unseen = 0
        """Looks since then at which nobody answered for the partition."""
        self.output_away = ""
        """What it writes to, and cannot write to now, in one line."""
        self.figures = runtime.figures
        self.runtime = runtime
        self.retry = runtime.retry(self.name)
        self._next: int | None = None
        self._committable: int | None = None
        self._seeking = True
        """Nothing that comes now is from `next_offset` on."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._blocking: asyncio.Future[Any] | None = None
        self._has_turn = False

    # What a stage says

    @abc.abstractmethod
    async def restore(self) -> int:
        """Bring the state up to what Kafka has; returns the input offset to go on from.

        What blocks goes through `in_restores`. After trouble outside it is called again: it must
        not leave anything open then. Raises Halt, Stopped.
        """

    @abc.abstractmethod
    def accept(self, records: Sequence[Record]) -> None:
        """Do, or keep for later, what the next records say. Raises Halt, NewerVersion."""

    @abc.abstractmethod
    async def run(self) -> None:
        """What goes on beside the reading until the partition is released, halted or not. Raises
        Halt."""

    @abc.abstractmethod
    def detach(self) -> Callable[[], None] | None:
        """Forget the state; returns what closes it, if anything is open. That blocks, and runs in a
        thread."""

    async def begin(self) -> None:
        """What comes before the first record is read: claims. May be tried again."""

    async def settle(self) -> None:
        """Finish what takes a moment only, before the partition is released."""

    def restored(self) -> str:
        """What to log of the restored state, beside the input offset to go on from."""
        return ""

    def input_is(self, seen: InputSeen, position: int) -> None:
        """Kafka has this input, looked at when `position` was the offset to read next. A stage that
        cannot live with a topic that was created anew, or has lost its tail, says so."""

    def joins(self, record: Record) -> bool:
        """Whether the next record follows what was accepted. False: the stage sees to it that it is
        read again."""
        return True

    def skipped(self, expected: int, first: int) -> bool:
        """The records from `expected` up to `first` are not there. True: accept what follows."""
        return True

    @property
    def full(self) -> bool:
        """More waits than may; nothing is read until less does."""
        return False

    @property
    def idle(self) -> bool:
        """Nothing that was read is still to be done."""
        return True

    @property
    def owes(self) -> bool:
        """It has something to do beside reading, and must get on with it."""
        return not self.idle

    @property
    def readable(self) -> bool:
        """The state can be asked about."""
        return self.status in (Status.RUNNING, Status.HALTED)

    # What the consumer asks (streams/positions.py)

    @property
    def paused(self) -> bool:
        return self.status is not Status.RUNNING or self._seeking or self.full

    @property
    def next_offset(self) -> int | None:
        return self._next if self.status is Status.RUNNING else None

    @property
    def committable(self) -> int | None:
        """The stage is done with all records before this offset. It answers after the release,
        too."""
        return self._committable

    # Reading

    def feed(self, records: Sequence[Record]) -> None:
        """The next records as they came from Kafka. Never raises: what cannot go on halts the
        partition."""
        expected = self._next
        if self.status is not Status.RUNNING or self._seeking or expected is None:
            return
        first = records[0].offset
        if first < expected:  # read again after a rebalance
            records = [record for record in records if record.offset >= expected]
            self.repeated()
            if not records:
                return
        elif first > expected and not self.skipped(expected, first):
            return
        if not self.joins(records[0]):
            return
        try:
            self.accept(records)
        except NewerVersion as error:
            self.halt(f"input: {error}; deploy that version and restart")
        except Halt as error:
            self.halt(str(error), error.skips)
        except Exception as error:  # skips no message, and takes no other partition down
            log.exception("%s: a record cannot be done", self.name)
            self.halt(f"offsets {first} to {records[-1].offset} cannot be done: {error!r}")
        else:
            self._next = records[-1].offset + 1
        self.progress += 1

    def repeated(self) -> None:
        """Records came that were accepted before."""

    def read_from(self, offset: int, why: str) -> None:
        """Read on from another offset; before that, see whether Kafka's input still joins on."""
        if self.status is not Status.RUNNING:
            return
        self._next = offset
        if self._seeking:  # then it reads on from there
            return
        self._seeking = True
        log.warning("%s: %s; reading from offset %d", self.name, why, offset)
        self.spawn(self._seek())

    async def _seek(self) -> None:
        try:
            await self.check_input()
            if self.status is Status.RUNNING:
                await self.runtime.seek(self.number)
        finally:
            self._seeking = False

    async def check_input(self) -> None:
        """Look at the input, and say so to `input_is`."""
        position = self._next
        self.saw(await self.retry(self._look), position)

    def saw(self, seen: InputSeen | None, position: int | None) -> None:
        """Kafka has this input; `position` was read next when it was asked."""
        if position is not None and seen is not None and self.status is Status.RUNNING:
            self.seen = seen
            self.input_is(seen, position)

    async def _look(self) -> InputSeen | None:
        return (await self.runtime.inputs.look(self.runtime.topic, [self.number])).get(self.number)

    def halt(self, reason: str, skips: tuple[int, int] | None = None) -> None:
        """Read nothing more. What was read is still done."""
        if self.status not in (Status.RELEASED, Status.HALTED):
            self.status, self.reason, self.skips = Status.HALTED, reason, skips
            log.critical("%s is halted: %s", self.name, reason)

    # Life

    def start(self) -> None:
        self.spawn(self._live())

    async def close(self) -> None:
        """Revoked, or stopping: let go of everything."""
        before, self.status = self.status, Status.RELEASED
        if before in (Status.RUNNING, Status.HALTED):
            await self.settle()
        if self._blocking is not None:
            if not self._has_turn:
                self._blocking.cancel()
            # a thread is not cancelled, and holds the state until it ends
            await asyncio.gather(self._blocking, return_exceptions=True)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_RELEASE_SECONDS)
        self.committable  # noqa: B018  (its last value is what the consumer still commits)
        closes = self.detach()
        if closes is not None:
            try:
                await asyncio.to_thread(closes)
            except Exception as error:  # the topic has what could not be written
                log.warning("%s: its state cannot be closed: %s", self.name, error)
        log.info("%s is released (was %s)", self.name, before.value)

    @property
    def stopped(self) -> bool:
        """Asked by a restore between its fetches, which is how the watchdog sees it move."""
        self.progress += 1
        return self.status is Status.RELEASED

    async def in_restores(self, work: Callable[[], T]) -> T:
        """Run blocking work of `restore`, which asks `stopped` now and then, in the threads for
        restores; `close` waits for its end. Raises Stopped."""
        if self.status is Status.RELEASED:  # nobody would wait for what begins now
            raise Stopped
        self._has_turn = False
        work_done = asyncio.ensure_future(self.runtime.restores.run(work, self._begins))
        self._blocking = work_done
        return await asyncio.shield(work_done)

    def restoring_at(self, done: int, of: int) -> None:
        """The restore has read `done` records of so many. Called in its thread."""
        self.restore_progress = done, of

    def _begins(self) -> None:
        self._has_turn = True
        if self.status is Status.RELEASED:
            raise Stopped
        if self.status is Status.ASSIGNED:
            self.status = Status.RESTORING

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run something until it ends or the partition is released. If it fails, the partition
        begins anew."""
        task = asyncio.create_task(work, name=self.name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        if self.status is Status.RELEASED or isinstance(error, Stopped):
            return
        if isinstance(error, Halt):
            self.halt(str(error), error.skips)
            return
        log.error("%s failed", self.name, exc_info=error)
        if self.status is not Status.HALTED:
            self.runtime.restart(self.number, repr(error))

    async def _live(self) -> None:
        self._next = self._committable = await self.retry(self.restore, *self.retry_seconds)
        if self.status is Status.RELEASED:
            return
        self.status = Status.RUNNING
        log.info(
            "%s is restored%s, and reads from offset %d", self.name, self.restored(), self._next
        )
        await self.retry(self.begin, *self.retry_seconds)
        self._seeking = False
        await self.runtime.seek(self.number)
        await self.run()

    def report(self) -> dict[str, Any]:
        """State and position of the partition, for its stage's status endpoint. `lag` in records,
        by the last look at the input."""
        report: dict[str, Any] = {"partition": self.number, "status": self.status.value}
        report["reason"] = self.reason
        report["skips"] = self.skips
        report["waiting_for"] = self.retry.problem
        report["restoring"] = self.restore_progress if self.status is Status.RESTORING else None
        done = self.committable
        known = self.seen is not None and done is not None
        report["lag"] = max(0, self.seen.end - done) if known else None  # type: ignore[union-attr, operator]
        return report
