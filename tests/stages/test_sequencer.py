"""The sequencer's production code over Kafka and Redis in memory: what a stop leaves, what is lost
and found, and who may answer."""

import asyncio
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from agents.sequencer import partition as module
from agents.sequencer import stage as stage_module
from agents.sequencer.io import SequencerIO
from agents.sequencer.partition import SequencerPartition
from agents.sequencer.stage import look_at_logs, sequencer_stage
from connectors.kafka.memory import MemoryKafka
from connectors.kafka.memory_broker import MemoryBroker
from connectors.kafka.ports import OffsetGone
from connectors.redis.memory import MemoryOwners, MemoryRoutes
from connectors.redis.memory_server import MemoryRedis, MemoryRedisServer
from connectors.redis.routes import Route
from schemas.codec import decode_log, decode_membership, encode_event
from schemas.events import (
    SCHEMA_VERSION,
    AllSaid,
    Membership,
    MessageDelivered,
    MessageSubmitted,
    SubmittedRecord,
)
from schemas.ids import partition_of
from schemas.topics import DEAD_LETTERS, DELIVERIES, LOG, MEMBERSHIPS, SUBMITTED
from schemas.worker_api import LAST_SEQ, HeadsQuestion, SeqsQuestion
from streams.partition import Status
from streams.slot_sender import SlotSender
from streams.stage import SESSION_SECONDS, StageSpec
from streams.tables.rocks import RocksBudget
from streams.tables.sequences import SequenceTable
from streams.worker_api import Request, Response
from tests.harness.fake_gateway import eventually
from tests.harness.stage_run import StageRun, delivered

A = "alice:bob"
SLOT = 1

Run = StageRun[SequencerPartition]
Make = Callable[[], Run]


@pytest.fixture
def kafka() -> MemoryKafka:
    return MemoryKafka(
        MemoryBroker(dict.fromkeys((SUBMITTED, LOG, DELIVERIES, DEAD_LETTERS, MEMBERSHIPS), 2))
    )


@pytest.fixture
def redis() -> MemoryRedis:
    return MemoryRedis(MemoryRedisServer(lambda: 0.0))


@pytest.fixture
async def make(kafka: MemoryKafka, redis: MemoryRedis, tmp_path: Path) -> Make:
    """A worker of the stage, always on the same disk. Bob has a device."""
    routes = MemoryRoutes(redis)
    await routes.write_routes([Route("bob", "phone", "node", SLOT, 0)])
    budget = RocksBudget(1 << 20, 1 << 20)

    def spec() -> StageSpec[SequencerPartition]:
        producer = kafka.producer({"message.timeout.ms": 0})
        io = SequencerIO(
            kafka,
            SlotSender(producer),
            "sequencer",
            lambda partition: SequenceTable(tmp_path / f"partition-{partition}", budget),
            routes,
            MemoryOwners(redis, "sequencer"),
            "here",
            2,
        )
        return sequencer_stage(io, 2)

    return lambda: StageRun(kafka, spec())


def submitted(ordinal: int, conversation: str = A) -> bytes:
    key = ordinal.to_bytes(16, "big")
    item = MessageSubmitted(conversation, "alice", "phone", bytes(16), ordinal, key, 1, "hi")
    return encode_event(SubmittedRecord(SCHEMA_VERSION, [item]))


def send(kafka: MemoryKafka, *ordinals: int, conversation: str = A, partition: int = 0) -> None:
    for ordinal in ordinals:
        kafka.broker.append(SUBMITTED, partition, submitted(ordinal, conversation))


def pushed(kafka: MemoryKafka) -> list[int]:
    """The numbers that bob's device was sent, repeats left out."""
    events = delivered(kafka, SLOT)
    return list(dict.fromkeys(event.seq for event in events if isinstance(event, MessageDelivered)))


def logged(kafka: MemoryKafka) -> list[int]:
    """The numbers that a reader of the log gets."""
    position, seqs = -1, []
    for record in kafka.broker.read_all(LOG, 0):
        entry = decode_log(record.value)
        if entry.from_ <= position + 1 and entry.to > position:
            seqs += [item.seq for item in entry.taken if item.offset > position]
            position = entry.to
    return seqs


async def ask(run: Run, path: str, question: Any = None, **query: str) -> Response:
    body = b"" if question is None else msgspec.json.encode(question)
    return await run.worker.api.handle(Request(path, query, body))


async def heads(run: Run) -> Mapping[str, Mapping[str, int]]:
    question = HeadsQuestion("alice", "", "", {0: {}})
    answer = await ask(run, "/sequencer/heads/", [question])
    found: list[Mapping[str, Mapping[str, int]]] = msgspec.json.decode(answer.body)
    return found[0]


async def has(run: Run, conversation: str = A) -> bool | None:
    """Whether there is such a conversation; None if the partition cannot tell."""
    answer = await ask(run, "/sequencer/seqs/", [SeqsQuestion({0: [conversation]})])
    found: list[Mapping[str, Mapping[str, int]]] = msgspec.json.decode(answer.body)
    return conversation in found[0]["0"] if found[0] else None


async def test_messages_are_numbered_appended_and_delivered(kafka: MemoryKafka, make: Make) -> None:
    send(kafka, 1, 2, 3)
    async with make() as run:
        await run.running()
        await run.done(3)
        assert logged(kafka) == pushed(kafka) == [1, 2, 3]
        assert await heads(run) == {"0": {A: 3}}
        page = await ask(run, "/sequencer/page/0/", conversation=A, after="1", limit="1")
        assert msgspec.json.decode(page.body.split(b"\n")[0]) == {"known": 3}
        for conversation, limit, newest in (
            (A, 2, [2, 3]),
            (A, 5, [1, 2, 3]),
            ("alice:zoe", 5, []),
        ):
            asked = {"conversation": conversation, "limit": str(limit), "newest": "1"}
            page = await ask(run, "/sequencer/page/0/", after=str(LAST_SEQ), **asked)
            head, *frames = map(msgspec.json.decode, page.body.split(b"\n"))
            assert (head["known"], [frame["seq"] for frame in frames]) == (
                len(newest and [1, 2, 3]),
                newest,
            )
        counters = await ask(run, "/sequencer/counters/0/")
        assert counters.body.split(b"\n")[1:] == [b'["alice:bob",3]', b""]
        report = run.partition.report()
        assert (report["position"], report["appended"], report["delivered"]) == (2, 2, 2)


async def test_a_stop_waits_for_what_is_about_to_land(
    kafka: MemoryKafka, make: Make, tmp_path: Path
) -> None:
    async with make() as run:
        partition = await run.running()
        kafka.broker.lose_leader(LOG, 0)
        send(kafka, 1, 2)
        await eventually(lambda: not partition.idle)
        asyncio.get_running_loop().call_later(0.2, kafka.broker.find_leader, LOG, 0)
    table = SequenceTable(tmp_path / "partition-0", RocksBudget())
    assert table.header is not None
    assert table.header.position == 1
    table.close()


async def test_a_stop_does_not_wait_long(
    kafka: MemoryKafka, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LANDING_SECONDS", 0.2)
    async with make() as run:
        partition = await run.running()
        kafka.broker.lose_leader(LOG, 0)
        send(kafka, 1)
        await eventually(lambda: not partition.idle)
        began = asyncio.get_running_loop().time()
        await run.stage.stop()
        assert asyncio.get_running_loop().time() - began < 1


async def test_a_new_owner_delivers_what_is_owed(kafka: MemoryKafka, make: Make) -> None:
    async with make() as first:
        await first.running()
        kafka.broker.lose_leader(DELIVERIES, SLOT)
        send(kafka, 1, 2, 3)
        await eventually(lambda: logged(kafka) == [1, 2, 3])
        first.commit()
    kafka.broker.recreate(DELIVERIES)
    async with make() as second:
        await second.running()
        await second.done(3)
        assert pushed(kafka) == [1, 2, 3]


async def test_without_its_disk_the_state_is_built_again(
    kafka: MemoryKafka, make: Make, tmp_path: Path
) -> None:
    send(kafka, 1, 2)
    async with make() as first:
        await first.running()
        await first.done(2)
        first.commit()
    (tmp_path / "partition-0").rename(tmp_path / "gone")
    send(kafka, 2, 3)
    async with make() as second:
        await second.running()
        await second.done(4)
        assert logged(kafka) == [1, 2, 3]


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


async def _nowhere(partition: int) -> None:
    pass


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


# Trouble outside (faults 4 and 20)


async def test_no_trouble_outside_halts_a_partition(
    kafka: MemoryKafka, redis: MemoryRedis, make: Make
) -> None:
    async with make() as run:
        partition = await run.running()
        kafka.full = True
        send(kafka, 1)
        await eventually(lambda: not partition.idle)
        kafka.full = False
        await run.done(1)
        redis.connected = False
        send(kafka, 2)
        await eventually(lambda: logged(kafka) == [1, 2])
        await asyncio.sleep(0.1)
        redis.connected = True
        await run.done(2)
        chance = random.Random(1)
        send(kafka, 3)
        for number in range(4, 20):
            kafka.break_producers(chance)
            send(kafka, number)
            await asyncio.sleep(0.01)
        await run.done(19)
        assert pushed(kafka) == logged(kafka) == list(range(1, 20))
        assert partition.status is Status.RUNNING


async def test_dead_letters_wait_for_kafka(kafka: MemoryKafka, make: Make) -> None:
    async with make() as run:
        partition = await run.running()
        kafka.broker.lose_leader(DEAD_LETTERS, 0)
        kafka.broker.append(SUBMITTED, 0, b"?")
        send(kafka, 1)
        await eventually(lambda: pushed(kafka) == [1])
        assert kafka.broker.read_all(LOG, 0) == []
        kafka.broker.find_leader(DEAD_LETTERS, 0)
        await run.done(2)
        assert partition.status is Status.RUNNING


async def test_a_slot_without_a_leader_stops_no_other(
    kafka: MemoryKafka, redis: MemoryRedis, make: Make
) -> None:
    """Fault 14."""
    await MemoryRoutes(redis).write_routes([Route("carol", "phone", "node", 0, 0)])
    async with make() as run:
        await run.running()
        kafka.broker.lose_leader(DELIVERIES, SLOT)
        send(kafka, 1)
        for number in range(1, 300):
            send(kafka, number, conversation="alice:carol")
            await asyncio.sleep(0)
        await eventually(lambda: len(delivered(kafka, 0)) == 299)
        assert run.stage.committable(0) == 0
        kafka.broker.find_leader(DELIVERIES, SLOT)
        await run.done(300)
        assert pushed(kafka) == [1]


async def test_a_log_partition_without_a_leader_delays_no_page_of_the_others(
    kafka: MemoryKafka, make: Make
) -> None:
    """Fault 14: each page of any partition waited for it, 5 s."""
    waited: list[float] = []
    kafka.broker.spend = waited.append
    run = make()
    run._assigned = {0, 1}
    async with run:
        send(kafka, 1, 2)
        send(kafka, 1, 2, partition=1)
        await eventually(lambda: run.stage.committable(0) == run.stage.committable(1) == 2)
        kafka.broker.lose_leader(LOG, 1)
        waited.clear()
        for _ in range(3):
            asked = {"conversation": A, "after": "0"}
            assert (await ask(run, "/sequencer/page/1/", **asked)).status == 503
            assert (await ask(run, "/sequencer/page/0/", **asked)).status == 200
        assert max(waited) <= 2.0
        pages = stage_io(run).pages
        async with asyncio.timeout(5), pages._lanes[0].lock:  # others read
            assert (await ask(run, "/sequencer/page/1/", **asked)).status == 503
        async with asyncio.timeout(5), pages._lanes[1].lock:  # partition 1 is waited for
            assert (await ask(run, "/sequencer/page/1/", **asked)).status == 503
            pages.forget(0)
            assert (await ask(run, "/sequencer/page/0/", **asked)).status == 200
        kafka.broker.find_leader(LOG, 1)
        assert (await ask(run, "/sequencer/page/1/", **asked)).status == 200


def stage_io(run: Run) -> SequencerIO:
    io: SequencerIO = run.partition.io._io
    return io


# The log (faults 11, 12 and 16)


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


# Who may answer (fault 22)


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


async def test_a_log_without_a_leader_is_waited_for_and_ends_no_worker(
    kafka: MemoryKafka, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seed 9239 of the simulation: the watchdog took appends that nobody takes for a hang."""
    monkeypatch.setattr(stage_module, "_LOOK_SECONDS", 0.1)
    async with make() as run:
        partition = await run.running()
        kafka.broker.lose_leader(LOG, 0)
        send(kafka, 1)
        await eventually(lambda: "messages/0" in partition.output_away)
        assert not partition.idle
        assert not any(probe.owed for probe in run.stage.probes())
        assert any("messages/0" in problem for problem in (await run.health())[1])
        kafka.broker.find_leader(LOG, 0)
        await run.done(1)
        await eventually(lambda: not partition.output_away)


def said(kafka: MemoryKafka) -> list[Membership | AllSaid]:
    """What `memberships` holds, by its partitions."""
    records = [record for n in (0, 1) for record in kafka.broker.read_all(MEMBERSHIPS, n)]
    return [decode_membership(record.value).fact for record in records]


async def test_members_are_said_before_the_first_look_for_their_routes(
    kafka: MemoryKafka, make: Make
) -> None:
    async with make() as run:
        await run.running()
        lost = partition_of("alice", 2)
        kafka.broker.lose_leader(MEMBERSHIPS, lost)
        send(kafka, 1, 2)
        await eventually(lambda: logged(kafka) == [1, 2])
        await asyncio.sleep(0.1)
        assert pushed(kafka) == []
        assert run.stage.committable(0) == 0
        kafka.broker.find_leader(MEMBERSHIPS, lost)
        await run.done(2)
        assert pushed(kafka) == [1, 2]
        assert {Membership("alice", 0), Membership("bob", 0)} <= set(said(kafka))


async def test_a_partition_says_once_to_each_topic_who_all_its_members_are(
    kafka: MemoryKafka, make: Make
) -> None:
    async with make() as run:
        await run.running()
        send(kafka, 1, 2)
        await run.done(2)
    for _ in range(2):
        kafka.broker.recreate(MEMBERSHIPS)
        topic = kafka.broker.topic_ids()[MEMBERSHIPS]
        everybody = [Membership("alice", 0), Membership("bob", 0), *[AllSaid(0, topic)] * 2]
        for _ in range(2):  # its disk remembers it
            async with make() as run:
                await run.running()
                for _ in range(2):
                    await look_at_logs(run.stage)
                    await eventually(lambda: len(said(kafka)) >= 4)
                    await asyncio.sleep(0.05)
            assert sorted(said(kafka), key=repr) == sorted(everybody, key=repr)
