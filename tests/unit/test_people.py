"""A node and what others have decided about its users: nobody passes unasked, nothing is lost, in
order, and what is known costs no question."""

import asyncio
from typing import Any

import pytest

from gateway.people.stances import AGAIN_SECONDS, FRESH_SECONDS, KEPT_SECONDS
from schemas.codec import encode_frame
from schemas.codes import Code
from schemas.events import (
    Changed,
    ChangeSubmitted,
    MarkDelivered,
    MessageSubmitted,
    PersonDelivered,
    RefusalSubmitted,
)
from schemas.frames import Mark, Person
from schemas.submitted_codec import decode_submitted
from schemas.topics import SUBMITTED
from tests.harness.memory_node import SEND, Device, MemoryNode, World, started
from tests.harness.virtual import run

BLOCKED = Code.BLOCKED.number
PERSON = encode_frame(Person("alice"))


def passed(world: World) -> list[tuple[int, int]]:
    """(ordinal, code) of what has entered the input; code 0 for a message."""
    records = world.broker.read_all(SUBMITTED, 0)
    return [
        (item.ordinal, getattr(item, "code", 0))
        for record in records
        for item in decode_submitted(record.value)
        if isinstance(item, MessageSubmitted | RefusalSubmitted)
    ]


def send(ordinal: int, to: str = "bob") -> dict[str, Any]:
    return SEND | {"ordinal": ordinal, "to": to}


async def tell(world: World, node: MemoryNode, blocked: bool) -> None:
    """Bob decides about alice; his owner tells the nodes."""
    (world.people.blocked.add if blocked else world.people.blocked.discard)(("bob", "alice"))
    world.deliver(node.slot, PersonDelivered("bob", "alice", PERSON))
    await asyncio.sleep(0.1)


def test_a_refusal_takes_the_place_of_the_message_and_nobody_is_asked_twice() -> None:
    async def scenario() -> None:
        world, node = await started()
        alice = await node.welcomed("alice")
        await alice.send(send(1), send(2))
        await asyncio.sleep(0.1)
        await alice.send(send(3))
        assert (await _settled(world), world.people.asked) == (
            [(1, 0), (2, 0), (3, 0)],
            [("bob", "alice")],
        )
        await tell(world, node, True)
        await alice.send(send(4), send(5))
        assert (await _settled(world))[3:] == [(4, BLOCKED), (5, BLOCKED)]
        await tell(world, node, False)
        await alice.send(send(6))
        assert (await _settled(world))[5:] == [(6, 0)]
        assert len(world.people.asked) == 3
        await node.node.stop()

    run(scenario())


async def _settled(world: World) -> list[tuple[int, int]]:
    await asyncio.sleep(0.1)
    return passed(world)


def test_without_an_answer_nothing_passes_and_nothing_is_used_up() -> None:
    async def scenario() -> None:
        world, node = await started()
        alice = await node.welcomed("alice")
        world.people.away = True
        await alice.send(send(1), send(2))
        assert await _settled(world) == []
        errors = [(one["ordinal"], one["code"]) for one in alice.of_type("error")]
        assert errors == [(1, Code.TRY_LATER.number), (2, Code.TRY_LATER.number)]
        assert node.node.parts.submitter.turned_away == 2
        world.people.away = False
        await alice.send(send(1))
        assert await _settled(world) == [(1, 0)]
        world.people.away = True
        await asyncio.sleep(KEPT_SECONDS + 1)
        await alice.send(send(2))
        assert await _settled(world) == [(1, 0), (2, 0)], "who cannot be reached folds nothing"
        await node.node.stop()

    run(scenario())


def test_what_is_known_for_a_while_is_asked_for_beside_the_work() -> None:
    async def scenario() -> None:
        world, node = await started()
        alice = await node.welcomed("alice")
        await alice.send(send(1))
        await _settled(world)
        world.people.blocked.add(("bob", "alice"))  # and nobody tells the node
        await asyncio.sleep(FRESH_SECONDS)
        await alice.send(send(2))
        assert (await _settled(world))[1:] == [(2, 0)]
        await _asked_again(world)
        await alice.send(send(3))
        assert (await _settled(world))[2:] == [(3, BLOCKED)]
        await node.node.stop()

    run(scenario())


async def _asked_again(world: World) -> None:
    await asyncio.sleep(AGAIN_SECONDS - 0.2)
    await world.claim_people()
    await asyncio.sleep(0.2)


def test_what_is_asked_for_beside_the_work_is_one_question() -> None:
    async def scenario() -> None:
        world, node = await started()
        alice = await node.welcomed("alice")
        users = [f"user{number}" for number in range(10)]
        for user in users:
            await alice.send(send(1, user) | {"outbox": user.encode().ljust(16).hex()})
        await _settled(world)
        await asyncio.sleep(FRESH_SECONDS)
        world.people.asked.clear()
        questions: list[None] = []
        world.people.meanwhile = lambda: questions.append(None)
        for user in users:
            await alice.send(send(2, user) | {"outbox": user.encode().ljust(16).hex()})
            await _settled(world)
        await _asked_again(world)
        assert world.people.asked == [(user, "alice") for user in users]
        assert len(questions) == 1
        await node.node.stop()

    run(scenario())


def test_a_change_that_comes_while_the_node_asks_is_not_missed() -> None:
    async def scenario() -> None:
        world, node = await started()
        alice = await node.welcomed("alice")

        def block() -> None:
            world.people.meanwhile = lambda: None
            world.people.blocked.add(("bob", "alice"))
            event = PersonDelivered("bob", "alice", PERSON)
            node.node.parts.people.changed(event)

        world.people.meanwhile = block
        await alice.send(send(1))
        assert await _settled(world) == [(1, BLOCKED)]
        await node.node.stop()

    run(scenario())


def test_what_passed_a_node_by_while_the_user_was_not_there_counts() -> None:
    async def scenario() -> None:
        world, node = await started()
        alice = await node.welcomed("alice")
        await alice.send(send(1))
        await _settled(world)
        alice.vanish()
        world.people.blocked.add(("bob", "alice"))  # alice has no route: nobody tells the node
        alice = await node.welcomed("alice")
        await alice.send(send(2))
        assert await _settled(world) == [(1, 0), (2, BLOCKED)]
        await node.node.stop()

    run(scenario())


@pytest.mark.parametrize("policy", ["everyone", "contacts", "requests"])
def test_whoever_may_not_write_may_delete_what_they_wrote(policy: str) -> None:
    """As in other messengers: whoever blocks somebody must not keep that one's words for ever."""

    async def scenario() -> None:
        world = World()
        node = await _node(world, policy)
        await node.welcomed("alice")
        world.people.blocked.add(("bob", "alice"))
        for ordinal, body in ((1, "edited"), (2, "")):
            head = "alice:bob", "alice", "phone", b"o" * 16, ordinal, b"k" * 16, 1
            change = ChangeSubmitted(*head, body, Changed(1, b"m" * 16, 5))
            node.node.parts.people.sends.submit(change, "bob", lambda code: None)
        assert await _settled(world) == [(1, BLOCKED), (2, 0)]
        await node.node.stop()

    run(scenario())


def marks(device: Device) -> list[tuple[int, int]]:
    return [(one["received"], one["read"]) for one in device.of_type("mark")]


def test_whoever_is_blocked_sees_what_was_received_and_not_what_was_read() -> None:
    async def scenario() -> None:
        world, node = await started()
        alice, bob = await node.welcomed("alice"), await node.welcomed("bob")
        event = MarkDelivered(
            ["alice", "bob"], encode_frame(Mark("alice:bob", "bob", 3, 5, 2, 6)), "bob"
        )
        world.deliver(node.slot, event)
        await asyncio.sleep(0.1)
        await tell(world, node, True)
        world.deliver(node.slot, event)
        await asyncio.sleep(0.1)
        assert (marks(alice), marks(bob)) == ([(3, 2), (3, 0)], [(3, 2), (3, 2)])
        await node.node.stop()

    run(scenario())


def test_a_mark_that_may_be_a_secret_is_asked_for_later() -> None:
    async def scenario() -> None:
        world, node = await started()
        alice = await node.welcomed("alice")
        world.people.away = True
        frame = encode_frame(Mark("alice:bob", "bob", 3, 5, 2, 6))
        world.deliver(node.slot, MarkDelivered(["alice"], frame, "bob"))
        await asyncio.sleep(20)
        assert [frame["t"] for frame in alice.frames] == ["resync"]
        await node.node.stop()

    run(scenario())


async def _node(world: World, policy: str) -> MemoryNode:
    node = world.node(policy=policy)
    await node.start()
    return node


def test_by_the_policy_contacts_only_contacts_may_write() -> None:
    async def scenario() -> None:
        world = World()
        node = await _node(world, "contacts")
        alice = await node.welcomed("alice")
        await alice.send(send(1))
        assert await _settled(world) == [(1, Code.NOT_A_CONTACT.number)]
        world.people.contacts.add(("bob", "alice"))
        world.deliver(node.slot, PersonDelivered("bob", "alice", PERSON))
        await asyncio.sleep(0.1)
        await alice.send(send(2))
        assert (await _settled(world))[1:] == [(2, 0)]
        await tell(world, node, True)
        await alice.send(send(3))
        assert (await _settled(world))[2:] == [(3, BLOCKED)]
        await node.node.stop()

    run(scenario())


def test_by_the_policy_known_nobody_writes_to_whoever_has_never_logged_in() -> None:
    async def scenario() -> None:
        world = World()
        node = await _node(world, "known")
        world.people.there.add("bob")
        alice = await node.welcomed("alice")
        await alice.send(send(1), send(2), send(1, "nobody"))
        unknown = Code.UNKNOWN_RECIPIENT.number
        assert sorted(await _settled(world)) == [(1, 0), (1, unknown), (2, 0)]
        world.people.away = True
        await alice.send(send(3), send(2, "nobody"))
        assert (await _settled(world))[3:] == [(3, 0)], "that bob is there never changes"
        (error,) = alice.of_type("error")
        assert (error["to"], error["code"]) == ("nobody", Code.TRY_LATER.number)
        world.people.away = False
        world.people.there.add("nobody")
        await alice.send(send(2, "nobody"))
        assert (await _settled(world))[4:] == [(2, 0)]
        await node.node.stop()

    run(scenario())
