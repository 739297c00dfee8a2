"""Appending when reports are not plain (R6): the log is read, and nothing is lost or left out."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from agents.rules.batch import Batch, fold_records
from agents.rules.fold import DeadItem, FoldState
from agents.rules.fold_view import InMemoryFoldView
from agents.rules.log import Verdict, judge
from agents.sequencer.appender import MAX_RECORDS, Appender
from agents.sequencer.log_applier import LogApplier
from connectors.kafka.ports import QueueFull
from connectors.kafka.record import Record
from schemas.codec import decode_log, encode_event
from schemas.events import SCHEMA_VERSION, MessageSubmitted, SubmittedRecord
from streams.tables.rocks import RocksBudget
from streams.tables.sequences import Header, SequenceTable
from tests.property.model import Input


class Log:
    """A log in memory. Reports wait until `report`; `lose` makes the next append fail, `foreign`
    lets another worker append."""

    def __init__(self) -> None:
        self.values: list[bytes] = []
        self.waiting: list[tuple[bytes, Callable[[bool, int], None]]] = []
        self.set_aside: list[DeadItem] = []
        self.full = False

    def append(self, value: bytes, report: Callable[[bool, int], None]) -> None:
        if self.full:
            raise QueueFull
        self.waiting.append((value, report))

    async def dead_letters(self, items: list[DeadItem]) -> None:
        await asyncio.sleep(0)
        self.set_aside += items

    async def read_to_end(self, start: int) -> list[Record]:
        await asyncio.sleep(0)
        return [
            Record(0, offset, 0, value)
            for offset, value in enumerate(self.values)
            if offset >= start
        ]

    def report(self, ok: bool = True, landed: bool = True) -> None:
        value, report = self.waiting.pop(0)
        if landed:
            self.values.append(value)
        report(ok, len(self.values) - 1 if ok else -1)


@pytest.fixture
def parts(tmp_path: Path) -> tuple[Log, Appender, LogApplier]:
    log = Log()
    state = SequenceTable(tmp_path / "state", RocksBudget())
    fold = LogApplier(state, Header("log", "input"))
    return (
        log,
        Appender(fold, log, lambda offset, to: None, lambda reason: pytest.fail(reason)),
        fold,
    )


def batches(count: int, garbage: bool = False) -> list[Batch]:
    """One batch an input record."""
    state = FoldState(InMemoryFoldView())
    made: list[Batch] = []
    for offset in range(count):
        item = MessageSubmitted(
            "alice:bob",
            "alice",
            "phone",
            b"o" * 16,
            offset + 1,
            offset.to_bytes(16, "big"),
            0,
            "hi",
        )
        value = b"?" if garbage else encode_event(SubmittedRecord(SCHEMA_VERSION, [item]))
        made += fold_records(state, [Input(offset, 1000, value)])
    return made


async def rest() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def is_whole(log: Log, count: int) -> bool:
    """Whether a reader gets every number once, in order."""
    position, seqs = -1, []
    for value in log.values:
        entry = decode_log(value)
        if judge(position, entry) is Verdict.TAKE:
            seqs += [item.seq for item in entry.taken if item.offset > position]
            position = entry.to
    return seqs == list(range(1, count + 1))


async def test_plain_reports_fold_into_the_state(parts: tuple[Log, Appender, LogApplier]) -> None:
    log, appender, fold = parts
    for batch in batches(3):
        appender.append(batch, -1)
    for _ in range(3):
        log.report()
    assert appender.idle
    assert (fold.header.log_offset, fold.header.position) == (2, 2)
    fold.write(-1, 0)
    assert fold._state.seq("alice:bob") == 3


@pytest.mark.parametrize("landed", [True, False])
async def test_an_unclear_report_is_settled_by_the_log(
    parts: tuple[Log, Appender, LogApplier], landed: bool
) -> None:
    log, appender, fold = parts
    for batch in batches(4):
        appender.append(batch, -1)
    log.report()
    log.report(ok=False, landed=landed)  # lost, or landed and only the report is lost
    log.report()
    log.report()
    await rest()
    while log.waiting:
        log.report()
        await rest()
    assert is_whole(log, 4)
    assert appender.idle
    assert fold.header.position == 3


async def test_a_foreign_append_is_read_before_anything_counts(
    parts: tuple[Log, Appender, LogApplier],
) -> None:
    log, appender, fold = parts
    made = batches(3)
    foreign = encode_event(made[0].log_record(-1))
    for batch in made:
        appender.append(batch, -1)
    log.values.append(foreign)  # a paused worker has woken
    while log.waiting:
        log.report()
        await rest()
    assert is_whole(log, 3)
    assert fold.header.position == 2
    assert fold.header.log_offset == len(log.values) - 1


async def test_dead_letters_come_before_their_append(
    parts: tuple[Log, Appender, LogApplier],
) -> None:
    log, appender, _ = parts
    for batch in batches(2, garbage=True):
        appender.append(batch, -1)
    assert log.waiting == []
    await rest()
    assert len(log.set_aside) == len(log.waiting) == 2


async def test_a_full_producer_is_waited_for_and_the_partition_is_full(
    parts: tuple[Log, Appender, LogApplier],
) -> None:
    log, appender, _ = parts
    log.full = True
    for batch in batches(MAX_RECORDS + 1):
        appender.append(batch, -1)
    assert appender.full
    log.full = False
    await asyncio.sleep(0.2)
    while log.waiting:
        log.report()
    assert not appender.full
    assert is_whole(log, MAX_RECORDS + 1)
