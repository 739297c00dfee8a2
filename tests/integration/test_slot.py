"""A gateway slot on a real Kafka and a real Redis."""

import asyncio

import pytest

from connectors.dependency import Dependency
from connectors.kafka.admin import TopicsAdmin
from connectors.kafka.cluster import KafkaCluster
from connectors.kafka.wanted_topics import WantedTopics
from connectors.redis.client import RedisClient
from connectors.redis.routes import CLOCKS_MS, RedisRoutes, Route
from gateway.owned_tasks import OwnedTasks
from gateway.registry import ConnectionRegistry
from gateway.route_writer import RouteWriter
from gateway.slot_lease import SlotLease
from schemas.codec import encode_frame
from schemas.codes import Close
from schemas.frames import Resync
from tests.harness.stack import Stack
from tests.unit.test_gateway_parts import Socket

pytestmark = pytest.mark.real


class Slot:
    """A slot and the routes of a node that renews its routes five times in a second."""

    def __init__(self, stack: Stack, routes: RedisRoutes) -> None:
        kafka = KafkaCluster(stack.kafka, TopicsAdmin(stack.kafka, WantedTopics(4, 8)))
        self._producer = kafka.producer({})
        self.registry = ConnectionRegistry()
        self.writer = RouteWriter(
            *("slot-test", routes, self.registry, self._producer, lambda user: None, 100),
            renew_seconds=0.2,
        )
        self.lease = SlotLease(
            "slot-test", 8, kafka, routes, self, lambda records: None, Dependency("kafka")
        )
        self._tasks = OwnedTasks()

    def slot_leased(self, slot: int, vanished: bool) -> None:
        self.writer.slot_leased(slot, vanished)

    async def slot_lost(self) -> None:
        self.writer.slot_lost()

    async def __aenter__(self) -> "Slot":
        for work in (self.writer.run, self.writer.renew, self.lease.run):
            self._tasks.start("the test", work)
        async with asyncio.timeout(60):
            while self.lease.slot is None:
                await asyncio.sleep(0.02)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._tasks.stop()
        await self._producer.close(1)


async def test_a_session_that_has_a_later_one_on_another_node_is_closed(stack: Stack) -> None:
    """Though nobody told this node of it; one that came together with it is not."""
    redis = RedisClient(stack.redis)
    routes = RedisRoutes(redis)
    async with Slot(stack, routes) as slot:
        earlier, together = Socket("slot-carol", "web"), Socket("slot-dave", "web")
        for one, apart in ((earlier, 2 * CLOCKS_MS), (together, CLOCKS_MS // 2)):
            one.since = routes.now() - apart
            slot.registry.add(one)
            assert await slot.writer.write(one)
            await routes.write_routes(
                [Route(one.user, one.device, "slot-another", 7, one.since + apart)]
            )
        async with asyncio.timeout(60):
            while not earlier.closed:
                await asyncio.sleep(0.02)
        assert (earlier.closed, together.closed) == ([Close.REPLACED], [])
        assert not await slot.writer.write(earlier), "nor is it let in late"
    await redis.close()


async def test_a_device_whose_route_was_gone_is_told_to_ask_when_it_is_written_again(
    stack: Stack,
) -> None:
    """R15, though the slot's lease is there: another node was late, took the device back, and saw
    it gone."""
    redis = RedisClient(stack.redis)
    routes = RedisRoutes(redis)
    async with Slot(stack, routes) as slot:
        device, beside = Socket("slot-alice", "phone"), Socket("slot-bob", "phone")
        for one in (device, beside):
            one.since = routes.now()
            slot.registry.add(one)
            await slot.writer.write(one)
        await redis.command("DEL", "routes:slot-alice")
        async with asyncio.timeout(60):
            while not device.pushed:
                await asyncio.sleep(0.02)
        found = (await routes.lookup(["slot-alice"]))["slot-alice"]
        assert [number for _, number in found] == [slot.lease.slot]
        await asyncio.sleep(1)  # routes are renewed some times more
        assert device.pushed == [encode_frame(Resync())], "once"
        assert beside.pushed == []
    await redis.close()
