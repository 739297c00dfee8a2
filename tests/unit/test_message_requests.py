"""A node under the policy `requests`, and an owner that folds what the node says: one message of a
stranger passes, whatever happens, until the recipient has accepted them."""

import asyncio
from typing import Any

import msgspec
import pytest

from agents.rules.notifications import to_look_at
from agents.rules.people import stance_of
from gateway.people import requests
from schemas.codec import (
    EVERYBODY,
    decode_people,
    encode_event,
    encode_frame,
    person_of,
)
from schemas.codes import Code
from schemas.events import (
    SCHEMA_VERSION,
    MarkDelivered,
    MessageSubmitted,
    PeopleRecord,
    PersonChange,
    PersonDelivered,
    RefusalSubmitted,
)
from schemas.frames import Mark
from schemas.submitted_codec import decode_submitted
from schemas.topics import PEOPLE_SUBMITTED, SUBMITTED
from schemas.worker_api import StancesQuestion
from tests.harness.memory_node import SEND, MemoryNode, PeopleWorker, World
from tests.harness.people_table import PeopleInMemory
from tests.harness.virtual import run
from tests.unit.test_fold import Partition

NOT_ACCEPTED, BLOCKED = Code.NOT_ACCEPTED.number, Code.BLOCKED.number


class FoldingWorker(PeopleWorker):
    """It folds what is in the topic whenever it is asked for all of it, and tells the node."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.table = PeopleInMemory()
        self.slot = -1
        self._world = world
        self._folded = 0

    async def request(
        self, method: str, url: str, body: bytes | None = None, params: Any = None
    ) -> Any:
        if url.endswith("/people/stances/") and not self.away:
            asked = msgspec.json.decode(body or b"", type=list[StancesQuestion])
            if any(question.whole for question in asked):
                self.fold()
        return await super().request(method, url, body, params)

    def fold(self) -> None:
        records = self._world.broker.read_all(PEOPLE_SUBMITTED, 0)[self._folded :]
        for record in records:
            for change in decode_people(record.value).items:
                told = self.table.fold((change, record.offset))
                for other in told:
                    state = self.table.state(change.user, other)
                    frame = encode_frame(person_of(other, state))
                    self._world.deliver(self.slot, PersonDelivered(change.user, other, frame))
            self._folded += 1

    def decide(self, user: str, other: str, **says: Any) -> None:
        """The user decides, and nodes are told."""
        record = PeopleRecord(SCHEMA_VERSION, [PersonChange(user, other, **says)])
        self._world.broker.append(PEOPLE_SUBMITTED, 0, encode_event(record))
        self.fold()

    def _stance(self, pair: tuple[str, str]) -> Any:
        everybody = self.table.state(pair[0], EVERYBODY)
        return stance_of(self.table.state(*pair), everybody)


async def _start() -> tuple[World, MemoryNode, FoldingWorker]:
    world = World()
    world.people = worker = FoldingWorker(world)
    node = world.node(policy="requests")
    await node.start()
    worker.slot = node.slot
    return world, node, worker


def send(ordinal: int, to: str = "bob", outbox: str = "0", **fields: Any) -> dict[str, Any]:
    key = f"{ordinal:x}{outbox}".rjust(32, "a")
    return SEND | {"ordinal": ordinal, "to": to, "key": key, "outbox": outbox * 32, **fields}


async def _passed(world: World) -> list[tuple[str, int, int]]:
    """(sender, ordinal, code) of what has entered the input; code 0 for a message."""
    await asyncio.sleep(0.5)
    return [
        (item.sender, item.ordinal, getattr(item, "code", 0))
        for record in world.broker.read_all(SUBMITTED, 0)
        for item in decode_submitted(record.value)
        if isinstance(item, MessageSubmitted | RefusalSubmitted)
    ]


def test_one_message_of_a_stranger_passes_and_also_its_repeat() -> None:
    async def scenario() -> None:
        world, node, _ = await _start()
        alice = await node.welcomed("alice")
        bob = await node.welcomed("bob")
        await alice.send(send(1), send(2), send(3))
        await alice.send(send(1))
        assert await _passed(world) == [
            *(("alice", 1, 0), ("alice", 2, NOT_ACCEPTED), ("alice", 3, NOT_ACCEPTED)),
            ("alice", 1, 0),
        ]
        assert [
            (one["user"], one["request"]) for one in bob.of_type("person") if "request" in one
        ] == [("alice", True)]
        again = await node.welcomed("alice", "tablet")
        await again.send(send(1, outbox="1"))
        assert (await _passed(world))[4:] == [("alice", 1, NOT_ACCEPTED)]
        await node.node.stop()

    run(scenario())


def test_a_request_is_notified_of_once_and_what_is_refused_never() -> None:
    """The notifier reads what the sequencer makes of what the node has let in."""

    async def scenario() -> None:
        world, node, worker = await _start()
        alice = await node.welcomed("alice")
        await alice.send(send(1), send(2))
        await _passed(world)
        worker.decide("bob", "alice", declined=True)
        await alice.send(send(3), send(1))
        assert len(await _passed(world)) == 4
        items = [
            item
            for record in world.broker.read_all(SUBMITTED, 0)
            for item in decode_submitted(record.value)
            if isinstance(item, MessageSubmitted | RefusalSubmitted)
        ]
        taken = Partition().feed(*items, time=1000).outcome.taken
        found = [(one.user, one.sender, one.seq) for one in to_look_at(taken, 1000, 0)]
        assert found == [("bob", "alice", 1)]
        await node.node.stop()

    run(scenario())


def test_whom_the_recipient_accepts_writes_on_and_whom_they_decline_does_not() -> None:
    async def scenario() -> None:
        world, node, worker = await _start()
        alice, carol = await node.welcomed("alice"), await node.welcomed("carol")
        await alice.send(send(1))
        await carol.send(send(1, outbox="1"))
        await _passed(world)
        worker.decide("bob", "alice", contact=True)
        worker.decide("bob", "carol", declined=True)
        await asyncio.sleep(0.1)
        await alice.send(send(2), send(3))
        await carol.send(send(2, outbox="1"))
        assert sorted((await _passed(world))[2:]) == [
            *(("alice", 2, 0), ("alice", 3, 0), ("carol", 2, NOT_ACCEPTED)),
        ]
        worker.decide("bob", "alice", blocked=True)
        await asyncio.sleep(0.1)
        await alice.send(send(4))
        assert (await _passed(world))[5:] == [("alice", 4, BLOCKED)]
        await node.node.stop()

    run(scenario())


def test_whoever_writes_first_may_be_answered() -> None:
    async def scenario() -> None:
        world, node, worker = await _start()
        alice, bob = await node.welcomed("alice"), await node.welcomed("bob")
        await alice.send(send(1))
        await _passed(world)
        await bob.send(send(1, "alice", outbox="1"), send(2, "alice", outbox="1"))
        await _passed(world)
        await alice.send(send(2))
        assert sorted((await _passed(world))[1:]) == [
            *(("alice", 2, 0), ("bob", 1, 0), ("bob", 2, 0)),
        ], "bob's answer accepts the request, and nobody asks alice, who has begun"
        assert not any(state.request for state in worker.table.rows.values())
        await node.node.stop()

    run(scenario())


def test_without_an_answer_nothing_passes_and_nothing_is_used_up() -> None:
    async def scenario() -> None:
        world, node, worker = await _start()
        alice = await node.welcomed("alice")
        worker.away = True
        await alice.send(send(1), send(2))
        await asyncio.sleep(30)
        assert await _passed(world) == []
        errors = [(one["ordinal"], one["code"]) for one in alice.of_type("error")]
        assert errors == [(1, Code.TRY_LATER.number), (2, Code.TRY_LATER.number)]
        worker.away = False
        await world.claim_people()
        await alice.send(send(1), send(2))
        assert await _passed(world) == [("alice", 1, 0), ("alice", 2, NOT_ACCEPTED)]
        await node.node.stop()

    run(scenario())


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "MAX_WAITING", 3)

    async def scenario() -> None:
        world, node, _ = await _start()
        alice = await node.welcomed("alice")
        await alice.send(*(send(number) for number in range(1, 7)))
        assert len(await _passed(world)) < 6
        assert {one["code"] for one in alice.of_type("error")} == {Code.TRY_LATER.number}
        await node.node.stop()

    run(scenario())


def test_a_stranger_sees_no_marks_until_they_are_accepted() -> None:
    async def scenario() -> None:
        world, node, worker = await _start()
        alice = await node.welcomed("alice")
        await alice.send(send(1))
        await _passed(world)
        mark = encode_frame(Mark("alice:bob", "bob", 1, 5, 1, 6))
        world.deliver(node.slot, MarkDelivered(["alice"], mark, "bob"))
        await asyncio.sleep(0.5)
        assert alice.of_type("mark") == []
        worker.decide("bob", "alice", contact=True)
        world.deliver(node.slot, MarkDelivered(["alice"], mark, "bob"))
        await asyncio.sleep(0.5)
        assert [(one["received"], one["read"]) for one in alice.of_type("mark")] == [(1, 1)]
        await node.node.stop()

    run(scenario())
