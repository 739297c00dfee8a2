"""The webhook stage over Kafka in memory: each notification is told at least once, in order, or it
is a dead letter."""

import asyncio
import json
from collections.abc import Callable

import pytest

from agents.webhook.partition import WebhookIO, WebhookPartition
from agents.webhook.stage import webhook_stage
from connectors.kafka.memory import MemoryKafka
from connectors.kafka.memory_broker import MemoryBroker
from connectors.webhook import EndpointFailed
from schemas.codec import decode_dead_letter, decode_notification, encode_event
from schemas.codes import Code
from schemas.events import SCHEMA_VERSION, NotificationRaised, NotificationRecord
from schemas.topics import DEAD_LETTERS, NOTIFICATIONS
from tests.harness.fake_gateway import eventually
from tests.harness.stage_run import StageRun

Run = StageRun[WebhookPartition]

AT_ONCE = 2
WAITS = (0.01, 0.02)


class Somebody:
    """An endpoint. `fails` says how often a message is not taken."""

    def __init__(self) -> None:
        self.fails: dict[int, float] = {}
        self.tries: list[tuple[str, int]] = []
        """(conversation, message) of each."""
        self.taken: list[tuple[str, int]] = []
        self.ids: set[str] = set()
        self.calling = self.most = 0
        self.open = asyncio.Event()
        self.open.set()

    async def call(self, body: bytes, headers: dict[str, str]) -> None:
        self.calling += 1
        self.most = max(self.most, self.calling)
        try:
            await asyncio.sleep(0)
            await self.open.wait()
            data = json.loads(body)["data"]
            one = data["conversation"], data["seq"]
            self.tries.append(one)
            self.ids.add(headers["webhook-id"])
            if self.fails.get(data["seq"], 0) > 0:
                self.fails[data["seq"]] -= 1
                raise EndpointFailed("it answers 503")
            self.taken.append(one)
        finally:
            self.calling -= 1


@pytest.fixture
def kafka() -> MemoryKafka:
    return MemoryKafka(MemoryBroker({NOTIFICATIONS: 1, DEAD_LETTERS: 1}))


@pytest.fixture
async def somebody() -> Somebody:
    return Somebody()


@pytest.fixture
def make(kafka: MemoryKafka, somebody: Somebody) -> Callable[[], Run]:
    """A worker of the webhook."""

    async def close() -> None:
        pass

    def run() -> Run:
        producer = kafka.producer({"message.timeout.ms": 0})
        turns = asyncio.Semaphore(AT_ONCE)
        io = WebhookIO(kafka, producer, somebody.call, [b"k" * 24], WAITS, lambda: 0.0, turns)
        return StageRun(kafka, webhook_stage(io, 1, close))

    return run


def write(kafka: MemoryKafka, *seqs: int, conversation: str = "alice:bob") -> None:
    for seq in seqs:
        one = NotificationRaised(conversation, "bob", "alice", seq, 1, seq, "")
        record = NotificationRecord(SCHEMA_VERSION, one)
        kafka.broker.append(NOTIFICATIONS, 0, encode_event(record))


async def test_what_fails_twice_is_tried_again_with_one_id_and_nothing_overtakes_it(
    kafka: MemoryKafka, somebody: Somebody, make: Callable[[], Run]
) -> None:
    somebody.fails = {1: 2}
    write(kafka, 1, 2)
    async with make() as run:
        await run.done(2)
        assert [seq for _, seq in somebody.tries] == [1, 1, 1, 2]
        assert len(somebody.ids) == 2
        assert (run.figures["delivered"], run.figures["failed"], run.figures["dead"]) == (2, 2, 0)
        assert (await run.health()) == (200, [])


async def test_what_is_never_taken_is_a_dead_letter_and_the_next_one_goes_on(
    kafka: MemoryKafka, somebody: Somebody, make: Callable[[], Run]
) -> None:
    somebody.fails = {1: float("inf")}
    write(kafka, 1, 2)
    async with make() as run:
        await run.done(2)
    assert somebody.taken == [("alice:bob", 2)]
    assert len(somebody.tries) == len(WAITS) + 2
    (record,) = kafka.broker.read_all(DEAD_LETTERS, 0)
    letter = decode_dead_letter(record.value)
    assert (letter.topic, letter.partition, letter.offset) == (NOTIFICATIONS, 0, 0)
    assert letter.code == Code.NOT_TAKEN.number
    again = decode_notification(letter.value).notification
    assert isinstance(again, NotificationRaised)
    assert again.seq == 1


async def test_an_endpoint_that_takes_nothing_is_said_and_bounds_what_is_under_way(
    kafka: MemoryKafka, somebody: Somebody, make: Callable[[], Run]
) -> None:
    somebody.open.clear()
    for number in range(6):
        write(kafka, 1, conversation=f"alice:bob{number}")
    async with make() as run:
        await eventually(lambda: somebody.calling == AT_ONCE)
        await eventually(lambda: not any(probe.owed for probe in run.stage.probes()))
        somebody.fails = {1: 1}
        somebody.open.set()
        await run.done(6)
        assert somebody.most == AT_ONCE
        assert len(somebody.taken) == 6


async def test_a_worker_that_dies_leaves_what_was_not_taken_to_the_next(
    kafka: MemoryKafka, somebody: Somebody, make: Callable[[], Run]
) -> None:
    write(kafka, 1, 2)
    somebody.open.clear()
    async with make() as first:
        await eventually(lambda: somebody.calling == 1)
        first.commit()
    somebody.open.set()
    async with make() as second:
        await second.done(2)
    assert somebody.taken == [("alice:bob", 1), ("alice:bob", 2)]


async def test_a_dead_letter_waits_for_kafka(
    kafka: MemoryKafka, somebody: Somebody, make: Callable[[], Run]
) -> None:
    somebody.fails = {1: float("inf")}
    async with make() as run:
        await run.running()
        kafka.broker.lose_leader(DEAD_LETTERS, 0)
        write(kafka, 1)
        await eventually(lambda: len(somebody.tries) == len(WAITS) + 1)
        await asyncio.sleep(0.05)
        assert run.stage.committable(0) == 0
        kafka.broker.find_leader(DEAD_LETTERS, 0)
        await run.done(1)
    assert len(somebody.tries) == len(WAITS) + 1
