"""One partition of the sequencer: it folds its input, appends what comes of it to the log, and
delivers it. streams/partition.py has its life cycle."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from msgspec.structs import replace

from agents.rules.batch import Batch, fold_gap, fold_records
from agents.rules.decisions import Decisions
from agents.rules.fold import LONGEST_SILENCE, FoldState
from agents.rules.folded_input import FoldedInput
from agents.rules.position import (
    FoundInput,
    FoundLog,
    input_differs,
    log_differs,
    may_be_given_up,
)
from agents.sequencer.appender import Appender
from agents.sequencer.deliverer import Deliverer, LogExpired
from agents.sequencer.io import PartitionIO
from agents.sequencer.log_applier import LogApplier
from agents.sequencer.memberships import MemberSayer
from agents.sequencer.snapshot_writer import Exported, SnapshotPolicy, SnapshotWriter
from connectors.kafka.record import Record
from schemas.codec import NewerVersion
from schemas.submitted_codec import submitting_slot
from schemas.topics import SUBMITTED
from streams.inputs import InputSeen
from streams.partition import Halt, Partition, PartitionRuntime, Status
from streams.tables.rocks import DiskUnavailable
from streams.tables.sequences import Header, SequenceTable

log = logging.getLogger(__name__)

MAX_CLOCK_LEAD = 3600 * 1000
"""A broker time further ahead of the worker's clock, in ms, halts: log time would be pushed forward
for good."""
MAX_UNWRITTEN = 100_000
"""Taken ordinals that the disk has not taken; beyond them nothing is read."""
_WRITE_MESSAGES = 10_000
_WRITE_SECONDS = 1.0
_SWEEP_ROWS = 500
"""Well below a millisecond."""
_SWEEP_OUTBOXES = 100
"""A second: a million are looked at in three hours."""
_LANDING_SECONDS = 2.0
_FOLDING_SECONDS = 0.5
"""A question about a user waits so long for a partition that is behind; it can be asked
otherwise."""


class SequencerPartition(Partition):
    """`table` is None while it is not open."""

    def __init__(
        self, number: int, runtime: PartitionRuntime, io: PartitionIO, policy: SnapshotPolicy
    ) -> None:
        super().__init__(number, runtime)
        self.table: SequenceTable | None = None
        self.io = io
        self._log_start = 0
        self._checking = False
        self._begins_anew = False
        self._looked = 0
        """The input offset from which on decisions of operators have not been looked for."""
        self._owed_to_questions = -1
        """The last input offset that the owner before may have delivered: nobody is answered
        without it."""
        self._moved = asyncio.Event()
        """Set, and replaced, when something has landed."""
        self.snapshots = SnapshotWriter(
            self, self.name, io.snapshots, policy, io.snapshot_turns, runtime.now
        )
        self._origin = ""
        self.dead_letters: int | None = None
        """How many of this partition Kafka has, by the last look."""
        # While the table is open there are:
        self._state: FoldState
        self._input: FoldedInput
        self._applier: LogApplier
        self._appender: Appender
        self._deliverer: Deliverer
        self._members: MemberSayer
        self._decisions: Decisions
        self._given_up: int | None

    # What the runtime asks

    async def restore(self) -> int:
        self.io.forget_pages()
        self._looked = await self.runtime.inputs.end(SUBMITTED, self.number)
        position = await self.in_restores(self._restore)
        if self._given_up is None:
            return position
        self._take_up(fold_gap(self._state, self._given_up), -1)
        return self._given_up + 1

    def _restore(self) -> int:
        """In a thread. Whatever becomes of the task that waits for it, `detach` closes the
        table."""
        restored = self.io.restore(lambda: self.stopped, self.restoring_at)
        table, self._applier, delivered = restored[:3]
        self._owed_to_questions = restored.input_end - 1
        self._decisions, self._given_up = restored.decisions, restored.given_up
        self._log_start, self._origin = restored.log_start, restored.origin
        header = self._applier.header
        self._go_on_from(header, table, restored.input_epoch)
        self._appender = Appender(self._applier, self.io, self, self.retry)
        self._deliverer = Deliverer(
            self.io, self.retry, header.position, delivered, header.redeliver_from
        )
        self._members = MemberSayer(self._applier, self.io, self.retry)
        self.table = table
        return header.position + 1

    def restored(self) -> str:
        return (
            f" from {self._origin} and the log up to its offset {self._applier.header.log_offset},"
            f" delivered up to input offset {self._deliverer.delivered}"
        )

    async def run(self) -> None:
        self.spawn(self._keep_writing())
        # Before any look for routes: gateway/queries/worker_client.py relies on it.
        await self.retry(self.io.claim)
        self.spawn(self.snapshots.run(self.runtime.retry(f"{self.name}: snapshots")))
        try:
            await self._deliverer.run()
        except LogExpired as error:
            self.begin_anew(f"the log does not hold what is to be delivered: {error}")

    def accept(self, records: Sequence[Record]) -> None:
        latest = self.runtime.now() + MAX_CLOCK_LEAD
        early = None
        if max(record.timestamp for record in records) > latest:
            ahead = (record.offset for record in records if record.timestamp > latest)
            early = next((one for one in ahead if not self._decisions.skip(one)), None)
        self.figures["events"] += 1
        slots = {record.offset: submitting_slot(record.value) for record in records}
        for batch in self._fold(records if early is None else records[: early - records[0].offset]):
            self.io.routes.heard(batch.outcome, slots)
            self._take_up(batch, records[-1].epoch)
        if early is not None:
            raise Halt(
                f"the broker time of input record {early} is more than an hour ahead of this"
                " worker's clock: set the clocks right and restart",
                (early, early),
            )

    def _fold(self, records: Sequence[Record]) -> Iterator[Batch]:
        try:
            yield from fold_records(self._state, records, self._decisions.skip)
        except NewerVersion:
            raise
        except Exception as error:  # skips no message, and takes no other partition down
            offset = self._state.position + 1
            log.exception("%s: input record %d cannot be folded", self.name, offset)
            raise Halt(
                f"input record {offset} cannot be folded: {error!r}", (offset, offset)
            ) from error

    def _take_up(self, batch: Batch, epoch: int) -> None:
        self.figures["messages"] += len(batch.outcome.taken)
        self.figures["repeats"] += len(batch.outcome.answers)
        self.figures["dead_letters"] += len(batch.outcome.dead)
        appended = self._appender.append(batch, self._done)
        self._deliverer.offer(batch, appended)
        self._input = FoldedInput(batch.last, batch.input_time, batch.input_crc, epoch)

    async def look_for_decisions(self) -> None:
        """See whether an operator has decided about this partition since it was halted. Raises
        ReadTimeout, OffsetGone."""
        if self.status is not Status.HALTED:
            return
        decisions, end = await self.io.read_decisions(self._looked)
        self._looked = end
        if decisions.last >= 0 and self.status is Status.HALTED:
            log.warning("%s: an operator has decided: %s", self.name, decisions.why)
            self.runtime.restart(self.number, f"a decision of {decisions.why}")

    def joins(self, record: Record) -> bool:
        if self._input.joins(record):
            return True
        self._input = self._input.ask(record)
        self.read_from(record.offset, f"the input has another leader (epoch {record.epoch})")
        return False

    async def check_input(self) -> None:
        folded, position = self._input, self.next_offset
        seen, record = await self.retry(lambda: self.io.look_at_input(folded.position))
        reason = folded.differs(record)
        if reason is not None:
            self.halt(reason)
            return
        self.saw(seen, position)
        if self._input is folded:
            self._input = folded.confirmed()

    def input_is(self, seen: InputSeen, position: int) -> None:
        header = self._applier.header
        found = FoundInput(seen.topic, seen.start, seen.end, None)
        fingerprint = header.input_time, header.input_crc
        reason = input_differs(header.input_topic, position - 1, fingerprint, found)
        if reason is not None:
            gone = may_be_given_up(header.input_topic, position - 1, fingerprint, found)
            self.halt(reason, gone)

    def skipped(self, expected: int, first: int) -> bool:
        self.read_from(expected, f"the input jumps to offset {first}")
        return False

    def repeated(self) -> None:
        # Read again after a rebalance, or the input was created anew.
        if not self._checking:
            self._checking = True
            self.spawn(self._check())

    async def _check(self) -> None:
        try:
            await self.check_input()
        finally:
            self._checking = False

    async def settle(self) -> None:
        # A message is delivered, and seen, before it is in the log: the table should know it, too.
        if self.table is not None and not self._begins_anew:
            await self._lands(self._state.position, _LANDING_SECONDS)

    def detach(self) -> Callable[[], None] | None:
        table, self.table = self.table, None
        self._moved.set()
        if table is None:
            return None
        self._appender.close()

        def close() -> None:
            try:
                if not self._begins_anew:
                    self._write()
            finally:
                table.close()

        return close

    @property
    def full(self) -> bool:
        return self._appender.full or self._applier.unwritten > MAX_UNWRITTEN

    @property
    def idle(self) -> bool:
        return self._appender.idle

    @property
    def readable(self) -> bool:
        return self.table is not None and super().readable

    @property
    def committable(self) -> int | None:
        if self.table is not None:
            self._committable = self._done + 1
        return self._committable

    @property
    def _done(self) -> int:
        """d of R5: everything up to this input offset is appended and delivered."""
        return min(self._deliverer.delivered, self._applier.header.position)

    # What the appender tells

    def landed(self, log_offset: int, to: int) -> None:
        self._deliverer.landed(log_offset, to)
        self.progress += 1
        self._moved.set()
        self._moved = asyncio.Event()
        if self._applier.header.position > self._state.position:
            self._follow_log()
        elif self._applier.unwritten >= _WRITE_MESSAGES:
            with contextlib.suppress(DiskUnavailable):  # `_keep_writing` says so
                self._write()

    def begin_anew(self, why: str) -> None:
        if not self._begins_anew and self.status in (Status.RUNNING, Status.HALTED):
            self._begins_anew = True
            self._appender.close()
            self.runtime.restart(self.number, why)

    def _follow_log(self) -> None:
        """Another worker was further: go on from what the log says."""
        assert self.table is not None
        try:
            self._write()
        except DiskUnavailable as error:  # the fold reads the table
            self.begin_anew(f"disk: {error}")
            return
        header = self._applier.header
        self._go_on_from(header, self.table, -1)
        self._deliverer.owe(header.position)
        self.read_from(header.position + 1, "the log is ahead")

    def _go_on_from(self, header: Header, table: SequenceTable, epoch: int) -> None:
        """Fold on from the state; its last input record was written by the leader with `epoch`."""
        self._state = FoldState(table, header.position, header.time, header.version)
        self._input = FoldedInput(header.position, header.input_time, header.input_crc, epoch)

    # The table

    def _write(self) -> None:
        """Bring what has landed into the table. Raises DiskUnavailable."""
        self._applier.write(self._deliverer.delivered, self._deliverer.log_from)
        self._state.folded(self._applier.header.position)

    async def _keep_writing(self) -> None:
        while True:
            await asyncio.sleep(_WRITE_SECONDS)
            await self.retry(self._write_and_sweep)

    async def _write_and_sweep(self) -> None:
        if self.table is not None and not self._begins_anew:
            self._write()
            self.table.sweep(self._log_start, _SWEEP_ROWS)
            self.table.sweep_outboxes(LONGEST_SILENCE, _SWEEP_OUTBOXES)

    @property
    def log_offset(self) -> int:
        """The last log record that is applied."""
        return self._applier.header.log_offset

    @property
    def folded_log(self) -> FoundLog:
        """The log up to where the state has folded it."""
        header = self._applier.header
        return FoundLog(header.log_topic, self._log_start, header.log_offset + 1, None)

    def exported(self) -> Exported | None:
        """The state as of now, for a snapshot; None if it may not be the fold of the log."""
        if self._begins_anew or self.status is not Status.RUNNING:
            return None
        table = self.written()
        if table is None or table.header is None:
            return None
        return Exported(table.header, table.rows())

    def log_is(self, found: FoundLog, log_offset: int) -> None:
        """Kafka has this log, looked at when `log_offset` was the last record applied."""
        self._log_start = found.start
        if self.table is not None and not self._begins_anew:
            why = log_differs(replace(self._applier.header, log_offset=log_offset), found)
            if why is not None:
                self.begin_anew(why)

    def memberships_are(self, topic: str) -> None:
        """`memberships` has this id: it must hear once who has conversations here."""
        if self.table is not None and not self._begins_anew and self._members.owes(topic):
            self.spawn(self._members.say(self, topic))

    # What the answers need

    def gone(self, table: SequenceTable) -> Callable[[], bool]:
        """Whether a table has been given back."""
        return lambda: self.table is not table

    async def current(self) -> SequenceTable | None:
        """The table with all that is folded now; None if it cannot be had now. A halted partition
        tells what it knows."""
        if self.table is None:
            return None
        position = max(self._state.position, self._owed_to_questions)
        landed = await self._lands(position, _LANDING_SECONDS)
        return self.written() if landed or self.status is Status.HALTED else None

    async def complete(self) -> SequenceTable | None:
        """The table with all that is in the input now, whoever has delivered it; None if this
        partition is not as far. Raises ReadTimeout."""
        if self.table is None:
            return None
        end = await self.runtime.inputs.end(SUBMITTED, self.number)
        if self.status is Status.HALTED and self._state.position < end - 1:
            return None
        return self.written() if await self._lands(end - 1, _FOLDING_SECONDS) else None

    @property
    def owes_a_change(self) -> bool:
        """A change is folded that the table does not have yet."""
        header = self.table.header if self.table is not None else None
        return header is not None and self._state.changed_at > header.position

    def written(self) -> SequenceTable | None:
        """The table with all that has landed."""
        if self.table is None:
            return None
        try:
            self._write()
        except DiskUnavailable:
            return None
        return self.table

    async def _lands(self, position: int, seconds: float) -> bool:
        """Wait until everything up to an input offset has landed; False if it has not within
        `seconds`."""
        if self.table is None or self._applier.header.position >= position:
            return True
        with self._appender.awaited(), contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.table is not None and self._applier.header.position < position:
                    await self._moved.wait()
                return True
        return False

    def report(self) -> dict[str, Any]:
        report = super().report()
        if self.table is None:
            return report
        header, seen = self._applier.header, self.seen
        return report | {
            "position": self._state.position,
            "lag": max(0, seen.end - self._state.position - 1) if seen is not None else None,
            "log_offset": header.log_offset,
            "appended": header.position,
            "delivered": self._deliverer.delivered,
            "redelivered": self._deliverer.redelivered,
            "slots_left_behind": self._deliverer.behind,
            "waiting_for_redis": self._deliverer.waiting_for_redis,
            "fold_version": self._state.version,
            "log_time": self._state.time,
            "snapshot": self.snapshots.report(),
            "dead_letters": self.dead_letters,
        }
