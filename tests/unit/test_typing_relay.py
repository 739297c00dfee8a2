"""Typing reaches the other user's devices; a flood of it costs one look at the routes at a time."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, cast

from connectors.redis.client import RedisUnavailable
from connectors.redis.memory import MemoryRoutes
from connectors.redis.memory_server import MemoryRedis, MemoryRedisServer
from connectors.redis.routes import Route
from gateway.presence.typing import TYPING_SECONDS, TypingRelay
from schemas.codec import decode_deliveries
from schemas.events import TypingDelivered
from tests.harness.slow_kafka import SlowKafka
from tests.harness.virtual import run
from tests.unit.test_gateway_parts import Socket


class SlowRoutes(MemoryRoutes):
    """Each look takes 100 ms; `away` is a Redis that does not answer."""

    def __init__(self) -> None:
        super().__init__(MemoryRedis(MemoryRedisServer(lambda: 0.0)))
        self.looks = self.under_way = self.most = 0
        self.away = False

    async def lookup(self, users: Sequence[str]) -> Mapping[str, Sequence[tuple[str, int]]]:
        self.looks += 1
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(0.1)
        self.under_way -= 1
        if self.away:
            raise RedisUnavailable("away")
        return await super().lookup(users)


class Subscriptions:
    def __init__(self, *watching: Socket) -> None:
        self._watching = watching

    def watchers_of(self, user: str) -> Sequence[Socket]:
        return self._watching if user == "alice" else ()


def relayed(kafka: SlowKafka) -> list[tuple[int, str, str]]:
    """(slot, user, typist) of what was sent since the last call."""
    return [
        (record.partition, event.user, event.typist)
        for record in kafka.take()
        for event in decode_deliveries(record.value).events
        if isinstance(event, TypingDelivered)
    ]


def test_typing_goes_to_the_other_users_slots_and_not_too_often() -> None:
    async def scenario() -> None:
        routes, kafka = SlowRoutes(), SlowKafka()
        await routes.acquire_slot("n1", range(1))
        await routes.write_routes(
            [Route("bob", device, "n1", 0, 1) for device in ("phone", "tablet")]
        )
        relay = TypingRelay(routes, kafka, cast(Any, Subscriptions()))
        for _ in range(3):
            relay.typing("alice", "alice:bob")
            relay.typing("carol", "bob:carol")
            await asyncio.sleep(0.3)
        assert relayed(kafka) == [(0, "bob", "alice"), (0, "bob", "carol")]
        await asyncio.sleep(TYPING_SECONDS)
        relay.typing("alice", "alice:bob")
        await asyncio.sleep(1)
        assert relayed(kafka) == [(0, "bob", "alice")]

    run(scenario())


def test_a_flood_of_typing_is_one_look_at_the_routes_at_a_time() -> None:
    async def scenario() -> None:
        routes, kafka = SlowRoutes(), SlowKafka()
        relay = TypingRelay(routes, kafka, cast(Any, Subscriptions()))
        for number in range(5_000):
            relay.typing("alice", f"alice:user{number}")
        await asyncio.sleep(10)
        assert (routes.most, routes.looks) == (1, 1)

    run(scenario())


def test_typing_goes_on_after_redis_or_kafka_was_away() -> None:
    async def scenario() -> None:
        routes, kafka = SlowRoutes(), SlowKafka()
        await routes.acquire_slot("n1", range(1))
        await routes.write_routes([Route("bob", "phone", "n1", 0, 1)])
        relay = TypingRelay(routes, kafka, cast(Any, Subscriptions()))
        for routes.away, kafka.full in ((True, False), (False, True), (False, False)):
            relay.typing("alice", "alice:bob")
            await asyncio.sleep(TYPING_SECONDS + 1)
        assert relayed(kafka) == [(0, "bob", "alice")]

    run(scenario())


def test_typing_is_pushed_only_to_the_user_who_is_written_to() -> None:
    async def scenario() -> None:
        bob, carol = Socket("bob", "phone"), Socket("carol", "phone")
        relay = TypingRelay(SlowRoutes(), SlowKafka(), cast(Any, Subscriptions(bob, carol)))
        relay.deliver(TypingDelivered("bob", "alice", b"typing"))
        relay.deliver(TypingDelivered("bob", "dave", b"not watched"))
        assert (bob.pushed, carol.pushed) == ([b"typing"], [])

    run(scenario())
