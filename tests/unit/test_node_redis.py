"""A whole node on ports in memory, in virtual time: what it does when Redis fails, or another node
has its slot."""

import asyncio
import random
from collections.abc import Iterable

import pytest

from connectors.redis.client import RedisUnavailable
from connectors.redis.memory import MemoryRoutes
from connectors.redis.memory_server import MemoryRedis
from connectors.redis.routes import LEASE_SECONDS, RENEW_SECONDS, Lease
from gateway.slot_lease import MUTE_SECONDS
from schemas.codec import decode_deliveries
from schemas.codes import Close
from schemas.events import Delivered, SlotTaken
from schemas.topics import DELIVERIES
from simulation.loop import VirtualLoop
from simulation.process import Process
from tests.harness.memory_node import Device, MemoryNode, World, message, started
from tests.harness.virtual import virtual_time


@virtual_time
async def test_redis_is_away_for_a_minute_and_no_session_closes() -> None:
    """What was sent meanwhile arrives when it is back: deliveries wait for their lookup."""
    world = World()
    nodes = [world.node(), world.node()]
    devices = []
    for node, user in zip(nodes, ("alice", "bob"), strict=True):
        await node.start()
        devices.append(await node.welcomed(user))
    slots = [node.slot for node in nodes]
    world.server.up = False
    await asyncio.sleep(LEASE_SECONDS + 1)
    for node in nodes:
        assert not node.node.ready
        assert node.node.refusal() is not None
        (problem,) = node.node.problems()
        assert problem.startswith("redis is unreachable for")
    await asyncio.sleep(60)
    world.server.up = True
    await asyncio.sleep(3)
    assert [node.node.ready for node in nodes] == [True, True]
    routes = await MemoryRoutes(MemoryRedis(world.server)).lookup(["alice", "bob"])
    assert routes == {"alice": [("phone", slots[0])], "bob": [("phone", slots[1])]}
    for device, user, slot in zip(devices, ("alice", "bob"), slots, strict=True):
        world.deliver(slot, message(user, 1))
        await asyncio.sleep(0.1)
        assert [frame["t"] for frame in device.frames] == ["resync", "message"]
        assert device.closed == []


@virtual_time
async def test_a_node_that_is_cut_off_from_redis_learns_from_kafka_that_its_slot_is_taken() -> None:
    """Nothing comes to it any more. Fault 7."""
    world = World()
    cut, beside = world.node(), world.node()
    await cut.start()
    await beside.start()
    slot = cut.slot
    bob = await cut.welcomed("bob")
    cut.redis.connected = False
    await asyncio.sleep(2 * LEASE_SECONDS)
    assert bob.closed == [], "the slot is still its own"
    world.deliver(slot, message("bob", 1))
    await asyncio.sleep(0.1)
    assert [frame["seq"] for frame in bob.frames] == [1]
    other = world.node()
    await other.start()
    assert other.slot == slot
    await asyncio.sleep(1)
    assert bob.closed == [Close.SLOT_LOST]
    assert not cut.node.ready
    bob = await other.welcomed("bob")
    world.deliver(slot, message("bob", 2))
    await asyncio.sleep(0.1)
    assert [frame["seq"] for frame in bob.frames] == [2]
    await other.node.stop()
    cut.redis.connected = True
    await asyncio.sleep(2)
    assert cut.node.ready, "it takes the slot that is free"
    await cut.welcomed("bob")


@virtual_time
async def test_a_node_that_reaches_neither_redis_nor_kafka_closes_its_sessions() -> None:
    """Another node may take its slot when the lease has run out, and could not tell."""
    world = World()
    cut = world.node()
    await cut.start()
    bob = await cut.welcomed("bob")
    cut.redis.connected = False
    cut.kafka.cut()
    began = asyncio.get_running_loop().time()
    async with asyncio.timeout(60):
        while not bob.closed:
            await asyncio.sleep(0.01)
    assert bob.closed == [Close.SLOT_LOST]
    took = asyncio.get_running_loop().time() - began
    assert LEASE_SECONDS - 2 * RENEW_SECONDS < took <= LEASE_SECONDS + 3 * RENEW_SECONDS
    assert not cut.node.ready
    assert cut.node.refusal() is not None
    assert cut.node.problems()
    cut.redis.connected = True
    await asyncio.sleep(5)
    assert not cut.node.ready, "it cannot read a slot"
    cut.kafka.mend()
    await asyncio.sleep(5)
    assert cut.node.ready
    await cut.welcomed("bob")


def test_two_nodes_believe_that_they_have_a_slot_and_both_close_their_sessions() -> None:
    """One was paused for longer than its lease; the other took the slot, was cut off from Redis,
    and its lease ran out, too. The first takes the lease again when it wakes."""
    loop = VirtualLoop()
    processes = Process("the first", loop), Process("the second", loop)

    async def begin(world: World, user: str) -> tuple[MemoryNode, Device]:
        node = world.node()
        await node.start()
        return node, await node.welcomed(user)

    world = loop.do(World, random.Random(1))
    first, alice = loop.run_until_complete(processes[0].start(begin(world, "alice")))
    slot = first.slot
    processes[0].pause()
    loop.advance(LEASE_SECONDS + 1)
    second, bob = loop.run_until_complete(processes[1].start(begin(world, "bob")))
    assert second.slot == slot
    second.redis.connected = False
    loop.advance(LEASE_SECONDS + 2)
    assert (alice.closed, bob.closed) == ([], [])
    loop.do(processes[0].wake)
    loop.advance(1)
    assert (alice.closed, bob.closed) == ([Close.SLOT_LOST], [Close.SLOT_LOST])
    assert first.node.ready
    assert not second.node.ready
    loop.close()


@virtual_time
async def test_a_lease_that_vanished_is_told_until_kafka_has_it() -> None:
    world, node = await started()
    slot = node.slot
    bob = await node.welcomed("bob")
    end = world.broker.log(DELIVERIES, slot).end
    world.broker.lose_leader(DELIVERIES, slot)
    world.server.wipe()
    await asyncio.sleep(MUTE_SECONDS - 1)
    assert [frame["t"] for frame in bob.frames] == ["resync"], "that does not wait"
    assert node.node.ready
    world.broker.find_leader(DELIVERIES, slot)
    await asyncio.sleep(5)

    def told() -> list[Delivered]:
        records = world.broker.read_all(DELIVERIES, slot)[end:]
        return [event for record in records for event in decode_deliveries(record.value).events]

    assert told() == [SlotTaken(node.node.id)]
    await asyncio.sleep(5)
    assert told() == [SlotTaken(node.node.id)]
    assert (node.node.ready, bob.closed) == (True, []), "its own changes nothing"


@virtual_time
async def test_a_node_that_lost_its_slot_while_it_took_it_lets_nobody_in() -> None:
    """Redis is emptied between the lease and the SlotTaken, another node is quicker, and Redis does
    not answer the node now."""

    class Emptied(MemoryRoutes):
        renewals_that_fail = 0

        async def acquire_slot(self, node: str, slots: Iterable[int]) -> int | None:
            slot = await super().acquire_slot(node, slots)
            if slot == 0:
                until = asyncio.get_running_loop().time() + LEASE_SECONDS
                self._table("slots")[slot] = "another", until
                self.renewals_that_fail = 1
            return slot

        async def renew_slot(self, node: str, slot: int) -> Lease:
            if self.renewals_that_fail:
                self.renewals_that_fail = 0
                raise RedisUnavailable("Redis does not answer")
            return await super().renew_slot(node, slot)

    world = World()
    node = world.node(Emptied(MemoryRedis(world.server)))
    await node.start()
    assert node.slot == 1, "the other has the first"


@virtual_time
async def test_a_short_outage_of_redis_closes_nobody() -> None:
    node = World().node()
    await node.start()
    bob = await node.welcomed("bob")
    node.redis.connected = False
    await asyncio.sleep(LEASE_SECONDS - 2 * RENEW_SECONDS)
    node.redis.connected = True
    await asyncio.sleep(10)
    assert (bob.closed, bob.frames) == ([], [])
    assert node.node.ready


@pytest.mark.parametrize("taken", [False, True])
def test_a_node_that_was_paused_keeps_its_sessions_unless_its_slot_is_taken(taken: bool) -> None:
    """For longer than its lease."""
    loop = VirtualLoop()
    process = Process("the node", loop)

    async def begin() -> tuple[World, MemoryNode, Device]:
        world = World(random.Random(1))
        node = world.node()
        await node.start()
        return world, node, await node.welcomed("bob")

    world, node, bob = loop.run_until_complete(process.start(begin()))
    process.pause()
    loop.advance(LEASE_SECONDS + 5)
    if taken:
        world.server.tables["slots"][node.slot] = "another", loop.time() + LEASE_SECONDS
    loop.do(process.wake)
    loop.advance(10)
    assert bob.closed == ([Close.SLOT_LOST] if taken else [])
    assert [frame["t"] for frame in bob.frames] == ([] if taken else ["resync"])
    assert node.node.ready
    loop.close()


@virtual_time
async def test_when_redis_has_forgotten_all_routes_are_written_again_and_devices_ask() -> None:
    """R15, a few at a time."""
    world, node = await started()
    devices = [await node.welcomed(f"user{number}") for number in range(450)]
    await asyncio.sleep(2)
    world.server.wipe()
    await asyncio.sleep(2)
    assert len(world.server.tables["routes"]) == len(devices)
    turns: dict[int, int] = {}
    for device in devices:
        assert [frame["t"] for frame in device.frames] == ["resync"]
        turns[device.turns[-1]] = turns.get(device.turns[-1], 0) + 1
    assert max(turns.values()) <= 200, "more hold up the loop"


@virtual_time
async def test_many_sessions_are_closed_a_few_at_a_time() -> None:
    world, node = await started()
    devices = [await node.welcomed(f"user{number}") for number in range(450)]
    world.deliver(node.slot, SlotTaken("another"))
    await asyncio.sleep(1)
    turns: dict[int, int] = {}
    for device in devices:
        assert device.closed == [Close.SLOT_LOST]
        turns[device.turns[-1]] = turns.get(device.turns[-1], 0) + 1
    assert max(turns.values()) <= 100, "more hold up the loop"
