"""A gateway slot on a real Kafka and a real Redis."""

import asyncio
from contextlib import suppress

import pytest

from connectors.redis.client import RedisClient
from connectors.redis.routes import RedisRoutes
from gateway.hub import Hub
from gateway.slot import Slot
from schemas.codec import encode_frame
from schemas.frames import Resync
from tests.harness.stack import Stack
from tests.unit.test_gateway_parts import Socket

pytestmark = pytest.mark.real


async def test_a_device_whose_route_was_gone_is_told_to_ask_when_it_is_written_again(stack: Stack) -> None:
    """R15, though the slot's lease is there: another node was late, took the device back, and saw it gone."""
    redis = RedisClient(stack.redis)
    routes, hub = RedisRoutes(redis), Hub()
    slot = Slot("slot-test", 8, stack.kafka, routes, hub, lambda records: None, lambda number: None, keep_seconds=0.2)
    holding = asyncio.create_task(slot.run())
    async with asyncio.timeout(20):
        while not slot.ready:
            await asyncio.sleep(0.02)
    device, beside = Socket("slot-alice", "phone"), Socket("slot-bob", "phone")
    for one in (device, beside):
        one.since = routes.now()
        hub.add(one)
        await slot.route(one.user, one.device, one.since)
    await redis.redis.delete("routes:slot-alice")
    async with asyncio.timeout(5):
        while not device.pushed:
            await asyncio.sleep(0.02)
    assert [number for _, number in (await routes.lookup(["slot-alice"]))["slot-alice"]] == [slot.number]
    await asyncio.sleep(2.5)  # routes are made sure of some times more
    assert device.pushed == [encode_frame(Resync())], "once"
    assert beside.pushed == []
    holding.cancel()
    with suppress(asyncio.CancelledError):
        await holding
    await slot.stop()
    await redis.close()
