"""Appending when reports are not plain (R6): the log is read, and nothing is lost or left out."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from agents.rules.batch import Batch, fold_records
from agents.rules.fold import DeadItem, FoldState
from agents.rules.fold_view import InMemoryFoldView
from agents.rules.log import Verdict, judge
from agents.sequencer.appender import MAX_RECORDS, Appender
from agents.sequencer.log_applier import LogApplier
from connectors.dependency import Dependencies
from connectors.kafka.ports import OffsetGone, QueueFull, ReadTimeout
from connectors.kafka.record import Record
from schemas.codec import decode_log, encode_event
from schemas.events import SCHEMA_VERSION, MessageSubmitted, SubmittedRecord
from streams.retry import Retry
from streams.tables.rocks import RocksBudget
from streams.tables.sequences import Header, SequenceTable
from tests.property.model import Input


class Log:
    """A log in memory. Reports wait until `report`; `full` refuses more; while it is `closed` dead
    letters are not acknowledged, and while it is `away` it cannot be read."""

    def __init__(self) -> None:
        self.values: list[bytes] = []
        self.waiting: list[tuple[bytes, Callable[[bool, int], None]]] = []
        self.set_aside: list[DeadItem] = []
        self.full = False
        self.away = False
        self.opened = asyncio.Event()
        self.opened.set()
        self.most_at_once = 100

    def append(self, value: bytes, report: Callable[[bool, int], None]) -> None:
        if self.full:
            raise QueueFull
        self.waiting.append((value, report))

    async def dead_letters(self, items: list[DeadItem]) -> None:
        await self.opened.wait()
        self.set_aside += items
        items.clear()

    async def read_log(self, start: int) -> AsyncIterator[list[Record]]:
        await asyncio.sleep(0)
        if start > len(self.values):
            raise OffsetGone("the log is shorter")
        records = [Record(0, offset, 0, value) for offset, value in enumerate(self.values)]
        for first in range(start, len(records), self.most_at_once):
            yield records[first : first + self.most_at_once]
            if self.away:
                raise ReadTimeout("away")

    def report(self, ok: bool = True, landed: bool = True) -> None:
        value, report = self.waiting.pop(0)
        if landed:
            self.values.append(value)
        report(ok, len(self.values) - 1 if ok else -1)


class Told:
    """What the appender says to its partition."""

    def __init__(self) -> None:
        self.landed_at: list[int] = []
        self.begun_anew: list[str] = []
        self.halted: list[str] = []

    def landed(self, log_offset: int, to: int) -> None:
        self.landed_at.append(log_offset)

    def begin_anew(self, why: str) -> None:
        self.begun_anew.append(why)

    def halt(self, reason: str) -> None:
        self.halted.append(reason)


class Parts(NamedTuple):
    log: Log
    appender: Appender
    applier: LogApplier
    told: Told
    table: SequenceTable


@pytest.fixture
def linger() -> float:
    return 0.0


@pytest.fixture
def parts(tmp_path: Path, linger: float) -> Parts:
    log, told = Log(), Told()
    table = SequenceTable(tmp_path / "state", RocksBudget())
    applier = LogApplier(table, Header("log", "input"))
    retry = Retry("the test", Dependencies(), lambda: 0.0)
    return Parts(log, Appender(applier, log, told, retry, linger), applier, told, table)


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


async def test_plain_reports_fold_into_the_state(parts: Parts) -> None:
    log, appender, applier, told, table = parts
    for batch in batches(3):
        appender.append(batch, -1)
    for _ in range(3):
        log.report()
    assert appender.idle
    assert (applier.header.log_offset, applier.header.position) == (2, 2)
    assert told.landed_at == [0, 1, 2]
    applier.write(-1, 0)
    assert table.seq("alice:bob") == 3


@pytest.mark.parametrize("landed", [True, False])
async def test_an_unclear_report_is_settled_by_the_log(parts: Parts, landed: bool) -> None:
    log, appender, applier, _, _ = parts
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
    assert applier.header.position == 3


async def test_a_foreign_append_is_read_before_anything_counts(parts: Parts) -> None:
    log, appender, applier, told, _ = parts
    made = batches(3)
    foreign = encode_event(made[0].log_record(-1))
    for batch in made:
        appender.append(batch, -1)
    log.values.append(foreign)  # a paused worker has woken
    while log.waiting:
        log.report()
        await rest()
    assert is_whole(log, 3)
    assert applier.header.position == 2
    assert applier.header.log_offset == len(log.values) - 1
    assert not told.begun_anew


async def test_dead_letters_come_before_their_append(parts: Parts) -> None:
    log, appender, _, _, _ = parts
    for batch in batches(2, garbage=True):
        appender.append(batch, -1)
    assert log.waiting == []
    await rest()
    assert len(log.set_aside) == len(log.waiting) == 2


@pytest.mark.parametrize("busy", ["with dead letters", "with a full queue"])
async def test_a_report_that_is_not_plain_while_the_appender_is_busy_is_settled(
    parts: Parts, busy: str
) -> None:
    """Fault 8: nobody read the log, so nothing landed any more."""
    log, appender, applier, _, _ = parts
    one, other = batches(1), batches(2, garbage=busy == "with dead letters")[1:]
    appender.append(one[0], -1)
    log.opened.clear()
    log.full = True
    appender.append(other[0], -1)
    log.report(ok=False, landed=False)
    await rest()
    log.opened.set()
    log.full = False
    await asyncio.sleep(0.1)
    while log.waiting:
        log.report()
        await rest()
    assert appender.idle
    assert applier.header.position == 1


@pytest.mark.parametrize("how", ["tail lost", "created anew"])
async def test_a_log_that_has_lost_its_tail_is_noticed(parts: Parts, how: str) -> None:
    """Fault 12: an append below the next offset was repeated until the offsets had caught up."""
    log, appender, applier, told, _ = parts
    made = batches(6)
    for batch in made[:3]:
        appender.append(batch, -1)
        log.report()
    del log.values[0 if how == "created anew" else 1 :]
    for batch in made[3:]:
        appender.append(batch, -1)
    log.report()
    await rest()
    assert len(told.begun_anew) == 1
    assert applier.header.log_offset == 2
    log.report()
    log.report()
    await rest()
    assert log.waiting == [], "nothing is sent to it any more"


async def test_a_log_that_ends_before_the_state_is_noticed_when_it_is_read(parts: Parts) -> None:
    """Fault 12: it was taken for an empty rest."""
    log, appender, _, told, _ = parts
    made = batches(3)
    for batch in made[:2]:
        appender.append(batch, -1)
        log.report()
    del log.values[1:]
    appender.append(made[2], -1)
    log.report(ok=False, landed=False)
    await rest()
    assert len(told.begun_anew) == 1
    assert log.waiting == []


async def test_what_was_read_of_the_log_is_not_read_again(parts: Parts) -> None:
    log, appender, applier, told, _ = parts
    log.most_at_once = 1
    made = batches(3)
    log.values += [encode_event(batch.log_record(-1)) for batch in made[:2]]
    log.away = True
    appender.append(made[0], -1)
    log.report(ok=False, landed=False)
    await asyncio.sleep(0.01)
    assert told.landed_at == [0]
    log.away = False
    async with asyncio.timeout(2):
        while applier.header.position < 1:
            await asyncio.sleep(0.01)
    assert told.landed_at == [0, 1]


async def test_a_record_of_a_newer_fold_halts(parts: Parts) -> None:
    """Fault 11: it was applied, and the next fold raised KeyError."""
    log, appender, _, told, _ = parts
    (batch,) = batches(1)
    newer = batch.log_record(-1)
    log.values.append(encode_event(replace(newer, fold_version=99)))
    appender.append(batch, -1)
    log.report()
    await rest()
    assert "fold version 99" in told.halted[0]
    assert "deploy that version" in told.halted[0]


async def test_a_full_producer_is_waited_for_and_the_partition_is_full(parts: Parts) -> None:
    log, appender, _, _, _ = parts
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


@pytest.mark.parametrize("linger", [0.05])
async def test_appends_wait_for_others_unless_somebody_waits_for_them(parts: Parts) -> None:
    log, appender = parts.log, parts.appender
    made = batches(4)
    appender.append(made[0], -1)
    appender.append(made[1], -1)
    assert log.waiting == []
    with appender.awaited():
        assert len(log.waiting) == 2
        appender.append(made[2], -1)
        assert len(log.waiting) == 3, "what comes while somebody waits leaves at once, too"
    appender.append(made[3], -1)
    assert len(log.waiting) == 3
    await asyncio.sleep(0.06)
    assert len(log.waiting) == 4


@pytest.mark.parametrize("linger", [60.0])
async def test_appends_that_are_many_do_not_wait(parts: Parts) -> None:
    log, appender = parts.log, parts.appender
    for batch in batches(120):
        appender.append(batch, -1)
    assert len(log.waiting) == 102
    appender.close()


@pytest.mark.parametrize("linger", [0.02])
async def test_a_closed_appender_sends_nothing_of_what_waits(parts: Parts) -> None:
    parts.appender.append(batches(1)[0], -1)
    parts.appender.close()
    await asyncio.sleep(0.05)
    assert parts.log.waiting == []
