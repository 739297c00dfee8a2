"""Who may answer what gateways ask, and when."""

import asyncio

import pytest

from agents.sequencer import partition as module
from connectors.kafka.memory import MemoryKafka
from connectors.redis.memory import MemoryOwners
from connectors.redis.memory_server import MemoryRedis
from schemas.topics import LOG, SUBMITTED
from streams.partition import Status
from streams.stage import SESSION_SECONDS
from tests.harness.fake_gateway import eventually
from tests.harness.sequencing import A, Make, has, heads, pushed, send


async def _nowhere(partition: int) -> None:
    pass


async def test_whether_there_is_a_conversation_is_answered_when_all_of_the_input_has_landed(
    kafka: MemoryKafka, make: Make
) -> None:
    async with make() as run:
        partition = await run.running()
        assert await has(run) is False
        kafka.broker.lose_leader(LOG, 0)
        send(kafka, 1)
        asking = asyncio.create_task(has(run))
        await asyncio.sleep(0.1)
        assert not asking.done(), "another worker may have delivered what is in the input"
        kafka.broker.find_leader(LOG, 0)
        assert await asking is True
        assert await has(run, "alice:carol") is False
        await run.stage.stop()
        assert await has(run) is None
        assert partition.table is None


async def test_heads_wait_for_what_the_owner_before_may_have_delivered(
    kafka: MemoryKafka, make: Make
) -> None:
    """It had delivered a message, and the sender had its number, but the log had no record of
    it."""
    async with make() as first:
        await first.running()
        kafka.broker.lose_leader(LOG, 0)
        send(kafka, 1)
        await eventually(lambda: pushed(kafka) == [1])
        first.partition._begins_anew = True  # it does not wait for the log
    kafka.broker.find_leader(LOG, 0)
    second = make()
    second.stage.seek = _nowhere
    async with second:
        second.stage.seek = _nowhere
        second.intake.assign(())
        await eventually(lambda: second.partition.status is Status.RUNNING)
        asking = asyncio.create_task(heads(second))
        await asyncio.sleep(0.1)
        assert not asking.done()
        second.intake.assign({0})
        assert await asking == {"0": {A: 1}}


async def test_a_partition_that_is_behind_does_not_answer(
    kafka: MemoryKafka, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FOLDING_SECONDS", 0.1)
    async with make() as run:
        partition = await run.running()
        kafka.broker.lose_leader(LOG, 0)
        send(kafka, 1)
        assert await has(run) is None
        kafka.broker.find_leader(LOG, 0)
        await run.done(1)
        monkeypatch.setattr(module, "_FOLDING_SECONDS", 60)
        partition.halt("for good")
        assert await has(run, "alice:carol") is False, "it is as far as its input"
        send(kafka, 2)
        async with asyncio.timeout(1):
            assert await has(run, "alice:carol") is None, "it will not come"


async def test_an_input_that_cannot_be_looked_at_is_not_answered_for(
    kafka: MemoryKafka, make: Make
) -> None:
    async with make() as run:
        await run.running()
        kafka.broker.lose_leader(SUBMITTED, 0)
        assert await has(run) is None


async def test_that_there_is_no_conversation_is_said_when_all_of_the_input_is_folded(
    kafka: MemoryKafka, make: Make
) -> None:
    """The owner before may have delivered its first message, to a device that asks now."""
    async with make() as run:
        await run.running()
        send(kafka, 1)
        assert await has(run) is True


async def test_a_worker_that_may_have_lost_its_partitions_answers_nothing(
    kafka: MemoryKafka, redis: MemoryRedis, make: Make
) -> None:
    """Fault 22: a worker that was paused past its session took back a claim that had vanished, and
    answered from what it knew."""
    owners = MemoryOwners(redis, "sequencer")
    send(kafka, 1)
    async with make() as run:
        await run.running()
        await run.done(1)
        loop = asyncio.get_running_loop()
        confirmed = loop.time()
        run.stage.confirmed_at = lambda: confirmed
        assert await heads(run) == {"0": {A: 1}}
        assert await has(run) is True
        confirmed -= SESSION_SECONDS  # it was paused; another worker has the partition
        redis.server.wipe()
        assert await heads(run) == {}
        assert await has(run) is None
        await asyncio.sleep(1.2)
        assert await owners.find([0]) == {}, "it claims nothing that it may have lost"
        confirmed = loop.time()  # the group has answered a heartbeat: nobody else has it
        assert await heads(run) == {"0": {A: 1}}
        run.stage.membership = lambda: (2, True)
        assert await heads(run) == {}, "a rebalance may be giving it away"
