"""One partition of a sequencer worker, from assignment to revocation.

restoring ─→ running ─→ closed
    └──────────┴─→ halted: kept, nothing read, health red, other partitions run (R7)
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agents.rules.batch import InputRecord, fold_records
from agents.rules.fold import FoldState
from agents.rules.position import FoundInput, input_differs
from agents.sequencer.appender import Appender
from agents.sequencer.deliverer import Deliverer
from agents.sequencer.io import PartitionIO
from agents.sequencer.log_applier import Halt, LogApplier
from agents.sequencer.queries import Page, find_heads, find_newest, read_page
from agents.sequencer.restore import Stopped
from connectors.kafka.ports import KafkaUnreachable, OffsetGone, ReadTimeout
from schemas.codec import NewerVersion
from schemas.worker_api import Newest
from streams.earlier_stage import GoOn, Status
from streams.tables.sequences import SequenceTable

log = logging.getLogger(__name__)

MAX_CLOCK_LEAD = 3600 * 1000
"""A broker time further ahead of the worker's clock, in ms, halts: log time would be pushed forward
for good."""
_WRITE_MESSAGES = 10_000
_SWEEP_ROWS = 500
"""Well below a millisecond."""
_RETRY_SECONDS = 1.0
_LANDING_SECONDS = 2.0
_FOLDING_SECONDS = 0.5
"""A question about a user waits so long for a partition that is behind; it can be asked
otherwise."""
_LETTING_GO_SECONDS = 2.0


class Partition:
    """Folds, appends and delivers one partition. `go_on` asks the consumer to read from
    `next_offset` on."""

    def __init__(
        self,
        number: int,
        outside: PartitionIO,
        figures: Counter[str],
        go_on: GoOn,
        now: Callable[[], int],
    ) -> None:
        self.number = number
        self.status = Status.RESTORING
        self.reason = ""
        self.figures = figures
        self.progress = 0
        """Grows with whatever this partition gets done; the watchdog looks at it."""
        self.log_start = 0
        """The first offset that Kafka still has of the log."""
        self._outside = outside
        self._go_on = go_on
        self._now = now
        self._committable: int | None = None
        self._seeking = False
        self._looking = False
        self._moved = asyncio.Event()
        """Set, and replaced, when something has landed."""
        self._tasks: list[asyncio.Task[None]] = []
        self.table: SequenceTable | None = None
        self._state: FoldState
        self._fold: LogApplier
        self._appender: Appender
        self._deliverer: Deliverer
        self._restoring = asyncio.create_task(self._restore())

    # What the consumer asks (streams.earlier_positions)

    @property
    def held(self) -> bool:
        return self.status is not Status.RUNNING or self._seeking or self._appender.full

    @property
    def idle(self) -> bool:
        """Nothing is being appended."""
        return self.status is not Status.RUNNING or self._appender.idle

    @property
    def position(self) -> int:
        """The last folded input offset, of a partition that has been restored."""
        return self._state.position

    @property
    def next_offset(self) -> int | None:
        return self._state.position + 1 if self.status is Status.RUNNING else None

    @property
    def committable(self) -> int | None:
        """d + 1: everything before it is appended and delivered."""
        if self.table is not None:
            self._committable = min(self._deliverer.delivered, self._fold.header.position) + 1
        return self._committable

    # Running

    def feed(self, records: Sequence[InputRecord]) -> None:
        """Fold the next records as they came from Kafka. Never raises: what cannot go on halts the
        partition."""
        if self.status is not Status.RUNNING or self._seeking:
            return
        known = self._state.position + 1 - records[0].offset
        if known < 0:
            self._seek(f"input jumps from {self._state.position} to {records[0].offset}")
            return
        fresh = records[known:] if known else records
        if known and not self._looking:
            self._looking = (
                True  # read again after a rebalance, or the input was re-created under this worker
            )
            self._spawn(self.check_input())
        if not fresh:
            return
        latest = self._now() + MAX_CLOCK_LEAD
        if max(record.timestamp for record in fresh) > latest:
            self.halt(
                "a broker time is more than an hour ahead of this worker's clock: set the clocks right and restart"
            )
            return
        self.figures["events"] += 1
        try:
            for batch in fold_records(self._state, fresh):
                self.figures["messages"] += len(batch.outcome.taken)
                self.figures["repeats"] += len(batch.outcome.answers)
                self.figures["dead"] += len(batch.outcome.dead)
                size = self._appender.append(
                    batch, min(self._deliverer.delivered, self._fold.header.position)
                )
                self._deliverer.offer(batch, size)
        except NewerVersion as error:
            self.halt(f"input: {error}; deploy that version and restart")
        except (
            Exception
        ) as error:  # a fault of ours must not skip a message nor take the other partitions down
            log.exception("partition %d: the fold failed", self.number)
            self.halt(f"the fold failed after input offset {self._state.position}: {error!r}")
        self.progress += 1

    def write(self) -> None:
        """Bring what has landed into the state; called every second and after enough messages."""
        if self.table is None:
            return
        self._fold.write(self._deliverer.delivered, self._deliverer.log_from)
        self._state.folded(self._fold.header.position)

    def sweep(self) -> None:
        """Forget a few of the places of log records that have expired; called every second."""
        if self.table is not None:
            self.table.sweep(self.log_start, _SWEEP_ROWS)

    async def page(self, conversation: str, after: int, limit: int) -> Page | None:
        """Messages of a conversation after `after`; None if this partition is not (or no longer)
        here. Raises RangeGone, ReadTimeout."""
        if self.table is not None and self.table.seq(conversation) <= after:
            await self._has_landed()
            self.write()
        return (
            None
            if self.table is None
            else await read_page(self.table, self._outside, conversation, after, limit)
        )

    async def heads(
        self, user: str, after: str, until: str, cursors: Mapping[str, int]
    ) -> Mapping[str, int] | None:
        """What is new to a device (schemas.worker_api.HeadsQuestion); None if this partition is not
        here or cannot tell now.

        Everything folded before the call is in it: it may have been delivered before the device had
        its route.
        """
        if not await self._has_landed() or self.table is None:
            return None
        self.write()
        return find_heads(self.table, user, after, until, cursors)

    async def seqs(self, conversations: Sequence[str]) -> dict[str, int] | None:
        """Last seqs of those conversations that have messages; None if this partition is not here
        or cannot tell now."""
        if not await self._has_landed() or self.table is None:
            return None
        self.write()
        found = {conversation: self.table.seq(conversation) for conversation in conversations}
        return {conversation: seq for conversation, seq in found.items() if seq}

    async def newest(
        self, user: str, limit: int, before: tuple[int, str] | None
    ) -> list[Newest] | None:
        """A user's conversations here, last written first; None if this partition is not here or
        cannot tell now."""
        if not await self._has_landed() or self.table is None:
            return None
        self.write()
        return find_newest(self.table, user, limit, before)

    async def holds(self, user: str) -> bool | None:
        """Whether the user has conversations here; None if this partition is not here or cannot
        tell now.

        Everything that was in the input before the call is in it, whoever has delivered it: what is
        not will be looked up routes for, and added to the directory, after the call.
        """
        if self.table is None:
            return None
        try:
            end = await self._outside.input_end()
        except ReadTimeout:
            return None
        if (
            self._halted_before(end)
            or not await self._lands(end - 1, _FOLDING_SECONDS)
            or self.table is None
        ):
            return None
        self.write()
        return any(True for _ in self.table.conversations(user, "", ""))

    def _halted_before(self, end: int) -> bool:
        return self.status is Status.HALTED and self._state.position < end - 1

    async def _has_landed(self) -> bool:
        """Wait a little until what is folded now has landed. A halted partition tells what it
        knows."""
        if self.table is None:
            return False
        return (
            await self._lands(self._state.position, _LANDING_SECONDS)
            or self.status is Status.HALTED
        )

    async def _lands(self, position: int, seconds: float) -> bool:
        """Wait until what is up to an input offset has landed; False if it has not within
        `seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.table is not None and self._fold.header.position < position:
                    await self._moved.wait()
                return True
        return False

    def halt(self, reason: str) -> None:
        """Read nothing more. What was folded still lands and is delivered."""
        if self.status is Status.CLOSED:
            return
        self.status, self.reason = Status.HALTED, reason
        log.critical("partition %d is halted: %s", self.number, reason)

    async def close(self) -> None:
        """Revoked or stopping: write what lands in a moment, and let go of the state."""
        reason = self.status
        self.status = Status.CLOSED
        await asyncio.gather(self._restoring, return_exceptions=True)
        await (
            self._has_landed()
        )  # a message is delivered before, and seen: the state should know of it, too
        for task in self._tasks:
            task.cancel()
        if self._tasks:  # Faust may swallow a cancellation: what has landed is written all the same
            await asyncio.wait(self._tasks, timeout=_LETTING_GO_SECONDS)
        if self.table is not None:
            self._appender.close()
            self.write()
            self.committable  # noqa: B018  (its last value is what the consumer still commits)
            self.table.close()
            self.table = None
            self._moved.set()
        log.info("partition %d closed (was %s)", self.number, reason.value)

    def _is_closed(self) -> bool:
        """Asked by the restore between its fetches, which is how the watchdog sees it move."""
        self.progress += 1
        return self.status is Status.CLOSED

    async def _restore(self) -> None:
        while self.status is Status.RESTORING:
            try:
                table, fold, delivered = await self._outside.restore(self._is_closed)
                break
            except Stopped:
                return
            except Halt as error:
                self.halt(str(error))
                return
            except (ReadTimeout, KafkaUnreachable) as error:
                log.warning("partition %d: %s", self.number, error)
                await asyncio.sleep(_RETRY_SECONDS)
            except Exception as error:
                log.exception("partition %d: restoring failed", self.number)
                self.halt(f"restoring failed: {error!r}")
                return
        else:
            return
        header = fold.header
        self._state = FoldState(table, header.position, header.time, header.version)
        self._fold = fold
        self._appender = Appender(fold, self._outside, self._landed, self.halt)
        self._deliverer = Deliverer(
            self._outside, header.position, delivered, header.redeliver_from
        )
        self.table = table
        if self._is_closed():
            return
        self._tasks.append(asyncio.create_task(self._deliver()))
        log.info(
            "partition %d restored: log offset %d, input offset %d, delivered %d",
            *(self.number, header.log_offset, header.position, delivered),
        )
        self.status = Status.RUNNING
        self._spawn(self._go_on(self.number))

    async def _deliver(self) -> None:
        try:
            await (
                self._outside.claim()
            )  # before any look for routes: gateway/queries/conversations.py relies on it
            await self._deliverer.run()
        except OffsetGone as error:
            self.halt(f"the log expired before it was delivered: {error}")
        except Exception as error:
            log.exception("partition %d: delivering failed", self.number)
            self.halt(f"delivering failed: {error!r}")

    def _landed(self, log_offset: int, to: int) -> None:
        self._deliverer.landed(log_offset, to)
        self.progress += 1
        self._moved.set()
        self._moved = asyncio.Event()
        position = self._fold.header.position
        if (
            position > self._state.position
        ):  # another worker was further: go on from what the log says
            self.write()
            header = self._fold.header
            assert self.table is not None
            self._state = FoldState(self.table, position, header.time, header.version)
            self._seek(f"the log is ahead: input offset {position}")
        elif self._fold.unwritten >= _WRITE_MESSAGES:
            self.write()

    def _seek(self, why: str) -> None:
        """Read again from the position; if Kafka has it no more, halt (R3: no silent jump)."""
        if self._seeking or self.status is not Status.RUNNING:
            return
        self._seeking = True
        log.warning(
            "partition %d: %s; reading again from %d", self.number, why, self._state.position + 1
        )
        self._spawn(self._seek_and_check())

    async def _seek_and_check(self) -> None:
        try:
            await self.check_input()
            if self.status is Status.RUNNING:
                await self._go_on(self.number)
        finally:
            self._seeking = False

    async def check_input(self) -> None:
        """Look whether the input in Kafka still joins on to the position."""
        position = self._state.position
        try:
            found = await self._outside.input()
        except (ReadTimeout, KafkaUnreachable) as error:
            log.warning("partition %d: %s", self.number, error)
            return
        finally:
            self._looking = False
        self.input_is(found, position)

    def input_is(self, found: FoundInput, position: int) -> None:
        """Halt unless the input that Kafka has joins on to `position`, where the partition was when
        Kafka was asked."""
        if self.status is not Status.RUNNING:
            return
        header = self._fold.header
        reason = input_differs(
            header.input_topic, position, (header.input_time, header.input_crc), found
        )
        if reason is not None:
            self.halt(reason)

    def _spawn(self, work: Any) -> None:
        self._tasks = [task for task in self._tasks if not task.done()]
        self._tasks.append(asyncio.ensure_future(work))

    def report(self) -> dict[str, Any]:
        """State and position of the partition, for the monitor page."""
        report: dict[str, Any] = {"partition": self.number, "status": self.status.value}
        if self.reason:
            report["reason"] = self.reason
        if self.table is not None:
            header = self._fold.header
            report |= {
                "position": self._state.position,
                "log_offset": header.log_offset,
                "appended": header.position,
                "delivered": self._deliverer.delivered,
                "redelivered": self._deliverer.redelivered,
                "waiting_for_redis": self._deliverer.waiting_for_redis,
                "fold_version": self._state.version,
                "log_time": self._state.time,
            }
        return report
