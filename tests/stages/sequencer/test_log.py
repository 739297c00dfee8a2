"""The log is replaced, shorter, newer, or ahead (faults 11, 12 and 16)."""

import asyncio

import pytest
from msgspec.structs import replace

from agents.sequencer import stage as stage_module
from connectors.kafka.memory import MemoryKafka
from connectors.kafka.ports import OffsetGone
from connectors.redis.memory_server import MemoryRedis
from schemas.codec import decode_log, encode_event
from schemas.topics import LOG, SUBMITTED
from streams.partition import Status
from tests.harness.fake_gateway import eventually
from tests.harness.sequencing import A, Make, ask, heads, logged, pushed, send


@pytest.mark.parametrize("how", ["lost its tail", "created anew"])
@pytest.mark.parametrize("noticed", ["by an append", "by a look"])
async def test_a_log_that_is_replaced_under_its_owner_is_folded_again(
    kafka: MemoryKafka, make: Make, monkeypatch: pytest.MonkeyPatch, how: str, noticed: str
) -> None:
    """Fault 12: appends were repeated until their offsets had caught up, and pages came from other
    records."""
    if noticed == "by a look":
        monkeypatch.setattr(stage_module, "_LOOK_SECONDS", 0.05)
    async with make() as run:
        first = await run.running()
        for number in range(1, 8):
            send(kafka, number)
            await run.done(number)
        run.commit()
        assert await heads(run) == {"0": {A: 7}}
        await ask(run, "/sequencer/page/0/", conversation=A, after="0")
        if how == "created anew":
            kafka.broker.recreate(LOG)
        else:
            kafka.broker.cut_tail(LOG, 0, 4)
        if noticed == "by an append":
            send(kafka, 8)
        await eventually(lambda: run.stage.partitions.get(0) not in (None, first))
        await run.running()
        send(kafka, 9)
        await run.done(kafka.broker.log(SUBMITTED, 0).end)
        last = 9 if noticed == "by an append" else 7
        assert logged(kafka) == list(range(1, last + 1))
        assert pushed(kafka) == list(range(1, last + 1))
        assert await heads(run) == {"0": {A: last}}
        page = await ask(run, "/sequencer/page/0/", conversation=A, after="0")
        assert len(page.body.split(b"\n")) == last + 1
        assert (await run.health())[0] == 200


async def test_a_replaced_log_that_cannot_be_folded_again_halts(
    kafka: MemoryKafka, make: Make
) -> None:
    async with make() as run:
        first = await run.running()
        for number in range(1, 8):
            send(kafka, number)
            await run.done(number)
        await asyncio.sleep(1.1)  # the table is written
        kafka.broker.expire(LOG, 0, 2)
        kafka.broker.cut_tail(LOG, 0, 3)
        send(kafka, 8)
        await eventually(lambda: run.stage.partitions.get(0) not in (None, first))
        await eventually(lambda: run.partition.status is Status.HALTED)
        assert "put the worker's state directory" in run.partition.reason


async def test_a_state_of_a_newer_fold_halts(kafka: MemoryKafka, make: Make) -> None:
    """Fault 11: KeyError, again and again, until the watchdog ended the worker."""
    send(kafka, 1)
    async with make() as run:
        await run.running()
        await run.done(1)
    for rest in kafka.broker.read_all(LOG, 0):
        entry = replace(decode_log(rest.value), fold_version=99, from_=1, to=1)
        kafka.broker.append(LOG, 0, encode_event(entry))
    send(kafka, 2)
    async with make() as run:
        await eventually(lambda: run.partition.status is Status.HALTED)
        assert "fold version 99" in run.partition.reason
        assert "deploy that version" in run.partition.reason


async def test_what_another_owner_appended_is_delivered_without_new_input(
    kafka: MemoryKafka, make: Make
) -> None:
    """Fault 16: a woken owner appended it, and died before it delivered."""
    send(kafka, 1)
    async with make() as run:
        await run.running()
        await run.done(1)
        kafka.broker.lose_leader(SUBMITTED, 0)  # this worker does not read the next
        send(kafka, 2)
        entry = decode_log(kafka.broker.read_all(LOG, 0)[0].value)
        taken = replace(entry.taken[0], offset=1, ordinal=2, seq=2, key=bytes(16))
        ahead = replace(entry, from_=1, to=1, taken=[taken])
        kafka.broker.append(LOG, 0, encode_event(ahead))
        run.partition._appender._unclear = True  # a report that is not plain makes it read the log
        run.partition._appender._go_on()
        await eventually(lambda: pushed(kafka) == [1, 2])
        kafka.broker.find_leader(SUBMITTED, 0)
        await run.done(2)


async def test_deliveries_that_expired_with_the_log_do_not_stop_the_partition(
    kafka: MemoryKafka, redis: MemoryRedis, make: Make
) -> None:
    async with make() as run:
        await run.running()
        redis.connected = False
        for number in range(1, 5):
            send(kafka, number)
            await eventually(lambda number=number: logged(kafka) == list(range(1, number + 1)))  # type: ignore[misc]
    kafka.broker.expire(LOG, 0, 2)
    redis.connected = True
    async with make() as run:
        await run.running()
        send(kafka, 5)
        await run.done(5)
        assert pushed(kafka)[-1] == 5


async def test_a_log_that_is_shorter_is_not_taken_for_one_without_news(
    kafka: MemoryKafka, make: Make
) -> None:
    """Fault 12."""
    async with make() as run:
        await run.running()
        assert [records async for records in run.partition.io.read_log(0)] == []
        with pytest.raises(OffsetGone):
            async for _ in run.partition.io.read_log(1):
                pass
