"""The input gets another leader, which may lack what was acknowledged (fault 1)."""

import asyncio
import zlib

import pytest
from msgspec.structs import replace

from connectors.kafka.memory import MemoryKafka
from schemas.codec import decode_log, encode_event
from schemas.topics import LOG, SUBMITTED
from streams.partition import Status
from tests.harness.fake_gateway import eventually
from tests.harness.sequencing import Make, logged, pushed, send


async def test_a_leader_that_lacks_what_was_folded_halts_the_partition_before_it_folds_on(
    kafka: MemoryKafka, make: Make
) -> None:
    """The new leader has given the same offsets to other messages, and more, before anybody looked
    at where it ends: they were folded as if they followed."""
    async with make() as run:
        await run.running()
        for number in range(1, 8):
            send(kafka, number)
        await run.done(7)
        kafka.broker.cut_tail(SUBMITTED, 0, 3)
        send(kafka, *range(8, 14), conversation="alice:carol")
        await eventually(lambda: run.partition.status is Status.HALTED)
        assert "input record 6 is not the one that was folded" in run.partition.reason
        assert logged(kafka) == pushed(kafka) == list(range(1, 8))
        assert (await run.health())[0] == 503


async def test_a_leader_that_lacks_what_was_folded_is_noticed_without_new_messages(
    kafka: MemoryKafka, make: Make
) -> None:
    async with make() as run:
        await run.running()
        for number in range(1, 8):
            send(kafka, number)
        await run.done(7)
        kafka.broker.cut_tail(SUBMITTED, 0, 3)
        await eventually(lambda: run.partition.status is Status.HALTED)
        assert "its tail was lost" in run.partition.reason


@pytest.mark.parametrize("folded", [0, 4])
async def test_a_leader_that_has_everything_is_read_on(
    kafka: MemoryKafka, make: Make, folded: int
) -> None:
    """Also after a restart, and with the last record expired."""
    send(kafka, *range(1, folded + 1))
    for _ in range(2):
        async with make() as run:
            await run.running()
            for _ in range(3):
                kafka.broker.lose_leader(SUBMITTED, 0)
                kafka.broker.find_leader(SUBMITTED, 0)
                end = kafka.broker.log(SUBMITTED, 0).end
                send(kafka, end + 1, end + 2)
                await run.done(end + 2)
            run.commit()
        kafka.broker.find_leader(SUBMITTED, 0)
    kafka.broker.expire(SUBMITTED, 0, kafka.broker.log(SUBMITTED, 0).end)
    async with make() as run:
        await run.running()
        kafka.broker.find_leader(SUBMITTED, 0)
        end = kafka.broker.log(SUBMITTED, 0).end
        send(kafka, end + 1)
        await run.done(end + 1)
        assert logged(kafka) == list(range(1, end + 2))
        assert (await run.health())[0] == 200


async def test_many_messages_of_one_leader_cost_no_look_at_the_input(
    kafka: MemoryKafka, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make() as run:
        partition = await run.running()
        looks = list[int]()
        look = partition.io.look_at_input

        async def counted(offset: int) -> object:
            looks.append(offset)
            return await look(offset)

        monkeypatch.setattr(partition.io, "look_at_input", counted)
        for number in range(1, 30):
            send(kafka, number)
            await run.done(number)
        assert looks == []
        kafka.broker.find_leader(SUBMITTED, 0)
        for number in range(30, 60):
            send(kafka, number)
            await run.done(number)
        assert looks == [28]


async def test_the_log_is_ahead_while_the_input_is_looked_at(
    kafka: MemoryKafka, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The partition reads on from where the log is, and not from where it was when it began to
    look."""
    async with make() as run:
        partition = await run.running()
        send(kafka, 1)
        await run.done(1)
        looked, look = asyncio.Event(), partition.io.look_at_input

        async def slow(offset: int) -> object:
            await looked.wait()
            return await look(offset)

        monkeypatch.setattr(partition.io, "look_at_input", slow)
        kafka.broker.find_leader(SUBMITTED, 0)
        send(kafka, 2)
        await eventually(lambda: partition._seeking)
        second = kafka.broker.read_all(SUBMITTED, 0)[1]
        entry = decode_log(kafka.broker.read_all(LOG, 0)[0].value)
        key = (2).to_bytes(16, "big")
        entry = replace(
            entry,
            from_=1,
            to=1,
            input_time=second.timestamp,
            input_crc=zlib.crc32(second.value),
            taken=[replace(entry.taken[0], offset=1, ordinal=2, seq=2, key=key)],
        )
        kafka.broker.append(LOG, 0, encode_event(entry))  # another owner, that was paused
        partition._appender._unclear = True  # a report that is not plain makes it read the log
        partition._appender._go_on()
        await eventually(lambda: partition._applier.header.position == 1)
        looked.set()
        send(kafka, 3)
        await run.done(3)
        assert logged(kafka) == [1, 2, 3]
