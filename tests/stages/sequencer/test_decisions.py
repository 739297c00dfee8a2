"""A halted partition goes on when an operator has decided so (R7)."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

import agents.sequencer.stage as stage_module
from agents.rules.fold import FoldState, Outcome
from connectors.kafka.memory import MemoryKafka
from schemas.codec import decode_dead_letter, decode_log, encode_event
from schemas.codes import Code
from schemas.events import (
    CHANGES_VERSION,
    SCHEMA_VERSION,
    InputSkipped,
    PartitionResumed,
    Submitted,
    SubmittedRecord,
)
from schemas.topics import DEAD_LETTERS, LOG, SUBMITTED
from streams.partition import Status
from tests.harness.fake_gateway import eventually
from tests.harness.sequencing import Make, Run, logged, pushed, send

HOUR = 3600 * 1000


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_module, "_DECIDED_SECONDS", 0.02)
    monkeypatch.setattr("streams.restarts.FIRST_SECONDS", 0.05)


def decide(kafka: MemoryKafka, event: Submitted) -> None:
    value = encode_event(SubmittedRecord(SCHEMA_VERSION, [event]))
    kafka.broker.append(SUBMITTED, 0, value)


def skip(kafka: MemoryKafka, first: int, last: int) -> None:
    decide(kafka, InputSkipped(first, last, "eve", "the clock was wrong", 1))


def send_ahead(kafka: MemoryKafka, ordinal: int) -> None:
    """A message, by a broker whose clock is two hours ahead."""
    now = kafka.broker.now
    kafka.broker.now = lambda: now() + 2 * HOUR
    send(kafka, ordinal)
    kafka.broker.now = now


def halted(run: Run) -> Callable[[], bool]:
    return lambda: 0 in run.stage.partitions and run.partition.status is Status.HALTED


def numbers(kafka: MemoryKafka) -> list[tuple[int, int]]:
    """(input offset, seq) of what the log has taken."""
    entries = [decode_log(record.value) for record in kafka.broker.read_all(LOG, 0)]
    return sorted({(item.offset, item.seq) for entry in entries for item in entry.taken})


async def test_an_operator_sets_a_record_aside_and_the_rest_is_numbered(
    kafka: MemoryKafka, make: Make
) -> None:
    async with make() as run:
        send(kafka, 1)
        send_ahead(kafka, 2)
        send(kafka, 2, 3)
        await eventually(halted(run))
        assert run.partition.report()["skips"] == (1, 1)
        await eventually(lambda: logged(kafka) == [1])  # what came before it is done
        skip(kafka, 1, 1)
        await run.done(5)
        assert logged(kafka) == pushed(kafka) == [1, 2, 3]
        assert numbers(kafka) == [(0, 1), (2, 2), (3, 3)]
        (letter,) = kafka.broker.read_all(DEAD_LETTERS, 0)
        dead = decode_dead_letter(letter.value)
        assert (dead.offset, dead.index, dead.code) == (1, -1, Code.SET_ASIDE.number)
    async with make() as run:  # and whoever comes later agrees
        send(kafka, 4)
        await run.done(6)
        assert logged(kafka) == [1, 2, 3, 4]
        assert run.partition.report()["log_time"] < kafka.broker.now() + HOUR


async def test_who_begins_after_the_decision_knows_it_before_it_folds(
    kafka: MemoryKafka, make: Make
) -> None:
    send(kafka, 1)
    send_ahead(kafka, 2)
    send(kafka, 2)
    skip(kafka, 1, 1)
    async with make() as run:
        await run.done(4)
        assert numbers(kafka) == [(0, 1), (2, 2)]


async def test_a_record_that_cannot_be_folded_is_named_and_set_aside(
    kafka: MemoryKafka, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    fold = FoldState.fold

    def fails(state: FoldState, offset: int, time: int, items: Any, outcome: Outcome) -> None:
        if offset == 1:
            raise ZeroDivisionError
        fold(state, offset, time, items, outcome)

    monkeypatch.setattr(FoldState, "fold", fails)
    async with make() as run:
        send(kafka, 1, 2, 2)
        await eventually(halted(run))
        assert "input record 1 cannot be folded: ZeroDivisionError()" in run.partition.reason
        assert run.partition.report()["skips"] == (1, 1)
        skip(kafka, 1, 1)
        await run.done(4)
        assert numbers(kafka) == [(0, 1), (2, 2)]


async def test_an_operator_who_mends_the_cause_lets_it_try_again(
    kafka: MemoryKafka, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    send_ahead(kafka, 1)
    async with make() as run:
        await eventually(halted(run))
        first = run.partition
        decide(kafka, PartitionResumed("eve", "perhaps", 1))
        await eventually(lambda: run.stage.partitions.get(0) not in (None, first))
        await eventually(halted(run))  # the cause is still there
        second = run.partition
        await asyncio.sleep(0.3)
        assert run.partition is second  # one decision is one try
        monkeypatch.setattr("agents.sequencer.partition.MAX_CLOCK_LEAD", 3 * HOUR)
        decide(kafka, PartitionResumed("eve", "now it is right", 1))
        await run.done(3)
        assert numbers(kafka) == [(0, 1)]


async def test_what_expired_unread_is_given_up_and_numbers_stay_dense(
    kafka: MemoryKafka, make: Make
) -> None:
    async with make() as run:
        send(kafka, 1)
        await run.done(1)
    send(kafka, 2, 3)
    kafka.broker.expire(SUBMITTED, 0, 3)
    send(kafka, 2)
    async with make() as run:
        await eventually(halted(run))
        assert run.partition.report()["skips"] == (1, 2)
        skip(kafka, 1, 2)
        await run.done(5)
        assert logged(kafka) == [1, 2]
        assert numbers(kafka) == [(0, 1), (3, 2)]
    async with make() as run:
        send(kafka, 3)
        await run.done(6)
        assert logged(kafka) == [1, 2, 3]


async def test_what_a_newer_version_wrote_waits_for_it(kafka: MemoryKafka, make: Make) -> None:
    kafka.broker.append(SUBMITTED, 0, msgspec.msgpack.encode([CHANGES_VERSION + 1, []]))
    async with make() as run:
        await eventually(halted(run))
        first = run.partition
        assert first.report()["skips"] is None
        skip(kafka, 0, 0)
        await eventually(lambda: run.stage.partitions.get(0) not in (None, first))
        await eventually(halted(run))
        assert kafka.broker.read_all(LOG, 0) == []


async def test_a_worker_that_may_have_lost_the_partition_decides_nothing(
    kafka: MemoryKafka, make: Make
) -> None:
    send_ahead(kafka, 1)
    async with make() as run:
        await eventually(halted(run))
        run.stage.confirmed_at = lambda: float("-inf")
        skip(kafka, 0, 0)
        await asyncio.sleep(0.3)
        assert run.partition.status is Status.HALTED
        assert kafka.broker.read_all(LOG, 0) == []
