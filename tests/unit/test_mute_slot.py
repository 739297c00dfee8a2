"""A node whose slot's partition nobody leads takes another slot; the others go on as before."""

import asyncio
import random

import pytest

from connectors.redis.routes import LEASE_SECONDS
from gateway.slot_lease import MUTE_SECONDS, QUIET_SECONDS
from schemas.codec import decode_deliveries
from schemas.codes import Close
from schemas.topics import DELIVERIES
from simulation.loop import VirtualLoop
from simulation.process import Process
from tests.harness.memory_node import SLOTS, Device, MemoryNode, World, message
from tests.harness.virtual import virtual_time

_BOUND_SECONDS = MUTE_SECONDS + 5


@virtual_time
async def test_its_devices_are_sent_away_in_time_and_served_by_another_slot() -> None:
    world = World()
    node = world.node()
    await node.start()
    bob = await node.welcomed("bob")
    mute = node.slot
    world.broker.lose_leader(DELIVERIES, mute)
    await asyncio.sleep(_BOUND_SECONDS)
    assert bob.closed == [Close.SLOT_LOST]
    assert node.node.ready
    assert node.slot != mute
    bob = await node.welcomed("bob")
    world.deliver(node.slot, message("bob", 1))
    await asyncio.sleep(0.1)
    assert [frame["seq"] for frame in bob.frames] == [1]
    await asyncio.sleep(2 * _BOUND_SECONDS)
    assert bob.closed == [], "an idle slot is not mute"


@virtual_time
async def test_nobody_else_is_sent_away() -> None:
    world = World()
    node, other = world.node(), world.node()
    await node.start()
    await other.start()
    alice, bob = await node.welcomed("alice"), await other.welcomed("bob")
    mute = node.slot
    world.broker.lose_leader(DELIVERIES, mute)
    await asyncio.sleep(_BOUND_SECONDS)
    assert (alice.closed, bob.closed) == ([Close.SLOT_LOST], [])
    assert not node.node.ready, "the other has the other slot"
    world.broker.find_leader(DELIVERIES, mute)
    await asyncio.sleep(5)
    assert (node.node.ready, node.slot) == (True, mute)


@virtual_time
async def test_a_node_that_starts_takes_a_slot_that_has_a_leader() -> None:
    world = World()
    world.broker.lose_leader(DELIVERIES, 0)
    node = world.node()
    await node.start()
    assert node.slot == 1


@pytest.mark.parametrize("longer", [False, True])
@virtual_time
async def test_while_no_slot_is_served_or_for_a_moment_sessions_stay(longer: bool) -> None:
    world = World()
    node = world.node()
    await node.start()
    bob = await node.welcomed("bob")
    slots = range(SLOTS) if longer else [node.slot]
    for slot in slots:
        world.broker.lose_leader(DELIVERIES, slot)
    await asyncio.sleep(60 if longer else MUTE_SECONDS - 2)
    for slot in slots:
        world.broker.find_leader(DELIVERIES, slot)
    await asyncio.sleep(60)
    assert (node.node.ready, bob.closed) == (True, [])


@virtual_time
async def test_what_kafka_did_not_take_is_followed_by_what_it_takes() -> None:
    """Else health would say that Kafka is away for as long as there is traffic."""
    world = World()
    node = world.node()
    await node.start()
    end = world.broker.log(DELIVERIES, node.slot).end
    world.broker.lose_replicas(DELIVERIES, node.slot)
    await asyncio.sleep(QUIET_SECONDS + 0.5)
    for second in range(10):
        if second == 5:
            world.broker.find_replicas(DELIVERIES, node.slot)
        world.deliver(node.slot, message("bob", second + 1))
        await asyncio.sleep(1)
    records = world.broker.read_all(DELIVERIES, node.slot)[end:]
    assert [] in [decode_deliveries(record.value).events for record in records]


def test_a_node_that_was_paused_has_not_waited() -> None:
    loop = VirtualLoop()
    process = Process("the node", loop)

    async def begin() -> tuple[MemoryNode, Device]:
        node = world.node()
        await node.start()
        return node, await node.welcomed("bob")

    world = loop.do(World, random.Random(1))
    node, bob = loop.run_until_complete(process.start(begin()))
    process.pause()
    loop.advance(LEASE_SECONDS + 2 * MUTE_SECONDS)
    loop.do(process.wake)
    loop.advance(MUTE_SECONDS + 1)
    assert (node.node.ready, bob.closed) == (True, [])
    loop.close()
