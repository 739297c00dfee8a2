"""A gateway slot on a real Kafka and a real Redis."""

import asyncio
from contextlib import suppress

import pytest

from connectors.redis.client import RedisClient
from connectors.redis.routes import CLOCKS_MS, RedisRoutes, Route
from gateway.registry import ConnectionRegistry
from gateway.slot_lease import SlotLease
from schemas.codec import encode_frame
from schemas.codes import Close
from schemas.frames import Resync
from tests.harness.stack import Stack
from tests.unit.test_gateway_parts import Socket

pytestmark = pytest.mark.real


def make_slot(stack: Stack, routes: RedisRoutes, hub: ConnectionRegistry) -> SlotLease:
    """Of a node that looks for its routes five times in a second."""
    return SlotLease(
        *("slot-test", 8, stack.kafka, routes, hub),
        *(lambda records: None, lambda number: None, lambda replaced: None),
        keep_seconds=0.2,
    )


async def held(slot: SlotLease) -> "asyncio.Task[None]":
    holding = asyncio.create_task(slot.run())
    async with asyncio.timeout(20):
        while not slot.ready:
            await asyncio.sleep(0.02)
    return holding


async def let_go(slot: SlotLease, holding: "asyncio.Task[None]") -> None:
    holding.cancel()
    with suppress(asyncio.CancelledError):
        await holding
    await slot.stop()


async def test_a_session_that_has_a_later_one_on_another_node_is_closed(stack: Stack) -> None:
    """Though nobody told this node of it; one that came together with it is not."""
    redis = RedisClient(stack.redis)
    routes, hub = RedisRoutes(redis), ConnectionRegistry()
    slot = make_slot(stack, routes, hub)
    holding = await held(slot)
    earlier, together = Socket("slot-carol", "web"), Socket("slot-dave", "web")
    for one, apart in ((earlier, 2 * CLOCKS_MS), (together, CLOCKS_MS // 2)):
        one.since = routes.now() - apart
        hub.add(one)
        assert await slot.route(one.user, one.device, one.since)
        await routes.write_routes(
            [Route(one.user, one.device, "slot-another", 7, one.since + apart)]
        )
    async with asyncio.timeout(5):
        while not earlier.closed:
            await asyncio.sleep(0.02)
    assert (earlier.closed, together.closed) == ([Close.REPLACED], [])
    assert not await slot.route(earlier.user, earlier.device, earlier.since), (
        "nor is it let in late"
    )
    await let_go(slot, holding)
    await redis.close()


async def test_a_device_whose_route_was_gone_is_told_to_ask_when_it_is_written_again(
    stack: Stack,
) -> None:
    """R15, though the slot's lease is there: another node was late, took the device back, and saw
    it gone."""
    redis = RedisClient(stack.redis)
    routes, hub = RedisRoutes(redis), ConnectionRegistry()
    slot = make_slot(stack, routes, hub)
    holding = await held(slot)
    device, beside = Socket("slot-alice", "phone"), Socket("slot-bob", "phone")
    for one in (device, beside):
        one.since = routes.now()
        hub.add(one)
        await slot.route(one.user, one.device, one.since)
    await redis.redis.delete("routes:slot-alice")
    async with asyncio.timeout(5):
        while not device.pushed:
            await asyncio.sleep(0.02)
    assert [number for _, number in (await routes.lookup(["slot-alice"]))["slot-alice"]] == [
        slot.number
    ]
    await asyncio.sleep(2.5)  # routes are made sure of some times more
    assert device.pushed == [encode_frame(Resync())], "once"
    assert beside.pushed == []
    await let_go(slot, holding)
    await redis.close()
