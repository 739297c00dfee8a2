"""A node's probe: it goes the way of a send, writes one message once, and says which step fails."""

import asyncio
from collections.abc import Mapping, Sequence

from connectors.redis.memory import MemoryRoutes
from gateway.probe import Probe
from schemas.events import MessageSubmitted
from schemas.ids import conversation_of, is_probe, partition_of, user_id
from schemas.submitted_codec import decode_submitted
from schemas.topics import SUBMITTED
from tests.harness.memory_node import MemoryNode, World
from tests.harness.virtual import virtual_time
from tests.unit.test_http_senders import served


@virtual_time
async def test_every_probe_sends_the_same_message_and_gets_its_first_answer() -> None:
    async with served() as it:
        probe = Probe(it.node.node, MemoryRoutes(it.node.redis), None, 1, 5.0)
        for _ in range(3):
            await probe.once(it.node.slot, 0)
            assert probe.last is not None
            assert probe.last.took.keys() == {"send", "shown"}
            assert probe.last.failed.startswith("history: "), "there is no worker to ask"
        items = [
            item
            for record in it.world.broker.read_all(SUBMITTED, 0)
            for item in decode_submitted(record.value)
            if isinstance(item, MessageSubmitted)
        ]
        assert len(items) == 3
        assert len({(item.outbox, item.ordinal, item.key) for item in items}) == 1
        assert probe.failures == {"history": 3}
        assert sum(probe.times["send"].counts) == sum(probe.times["shown"].counts) == 3


@virtual_time
async def test_a_probe_without_an_answer_fails_and_the_next_one_tries_again() -> None:
    world = World()
    node = world.node()
    await node.start()
    probe = Probe(node.node, MemoryRoutes(node.redis), None, 1, 5.0)
    running = asyncio.create_task(probe.run())
    await asyncio.sleep(40)
    running.cancel()
    assert probe.failures["send"] >= 2
    assert probe.last is not None
    assert probe.last.failed.startswith("send: ")
    await node.node.stop()


@virtual_time
async def test_a_push_that_does_not_come_fails_the_step_shown() -> None:
    async with served() as it:
        probe = Probe(it.node.node, _NoPeers(it.node.redis), None, 1, 5.0)
        await probe.once(it.node.slot, 0)
        assert probe.last is not None
        assert probe.last.failed == "shown: the recipient has no route in Redis"
        lost = Probe(it.node.node, _Elsewhere(it.node.redis), None, 1, 5.0)
        await lost.once(it.node.slot, 0)
        assert lost.last is not None
        assert lost.last.failed == "shown: the push to the recipient does not come"
        assert lost.last.took.keys() == {"send"}
        assert probe.failures == lost.failures == {"shown": 1}


class _NoPeers(MemoryRoutes):
    async def lookup(self, users: Sequence[str]) -> Mapping[str, Sequence[tuple[str, int]]]:
        return {user: [] for user in users}


class _Elsewhere(MemoryRoutes):
    """A route that leads to a node where the user is not."""

    async def lookup(self, users: Sequence[str]) -> Mapping[str, Sequence[tuple[str, int]]]:
        return {user: [("phone", 1)] for user in users}


@virtual_time
async def test_the_conversations_of_a_slot_are_one_in_each_partition() -> None:
    node: MemoryNode = World().node()
    probe = Probe(node.node, MemoryRoutes(node.redis), None, 16, 5.0)
    for partition in range(16):
        peer = probe._peer(3, partition)
        conversation = conversation_of(user_id("probe-3"), peer)
        assert partition_of(conversation, 16) == partition
        assert is_probe(conversation)
