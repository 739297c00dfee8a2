"""Presence while what carries it is killed: right at the end on every device that watches."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable

import pytest

from connectors.redis.client import RedisClient
from connectors.redis.routes import LEASE_SECONDS, RENEW_SECONDS
from messenger_sdk import Client, PresenceChanged
from tests.chaos.conftest import ROUNDS
from tests.harness.client import BreakableClient
from tests.harness.device import token_of
from tests.harness.stack import Stack
from tests.harness.talk import Talk

pytestmark = [pytest.mark.real, pytest.mark.chaos, pytest.mark.timeout(300 + 60 * ROUNDS)]
PARTS = {"gateways": 2, "cursors": 1, "presence": 1}
FRIENDS = 4


async def killed_presence(lab: Stack, redis: RedisClient) -> None:
    lab.kill("presence-1")


async def wiped_redis(lab: Stack, redis: RedisClient) -> None:
    await redis.command("FLUSHALL")


async def nothing(lab: Stack, redis: RedisClient) -> None:
    """Only the devices come and go."""


class Friend:
    """A device that comes and goes."""

    def __init__(self, stack: Stack, user: str, number: int) -> None:
        self.user = user
        self._stack = stack
        self._number = number
        self._client: Client | None = None

    async def come(self) -> None:
        urls = self._stack.gateway_urls
        client = Client(
            [urls[self._number % 2], urls[1 - self._number % 2]],
            token_of(self._stack, self.user),
            "one",
        )
        self._client = await client.__aenter__()
        async with asyncio.timeout(60):
            await client.online()

    async def go(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None


def shown(watcher: Client, friends: list[Friend]) -> list[bool | None]:
    found = [watcher.device.presence.get(friend.user) for friend in friends]
    return [None if presence is None else presence.online for presence in found]


async def until(condition: Callable[[], bool], timeout: float, what: Callable[[], object]) -> float:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + timeout, what()
        await asyncio.sleep(0.02)
    return time.monotonic() - began


@pytest.mark.parametrize(
    "accident",
    [pytest.param(nothing, marks=pytest.mark.soak), killed_presence, wiped_redis],
)
async def test_who_comes_and_goes_meanwhile_is_known_at_the_end(
    lab: Stack,
    talk: Talk,
    redis: RedisClient,
    accident: Callable[[Stack, RedisClient], Awaitable[None]],
) -> None:
    watchers = [
        await talk.join("alice", "one"),
        await talk.join("alice", "two"),
    ]  # on both gateways
    friends = [Friend(lab, talk.user(f"friend{n}"), n) for n in range(FRIENDS)]
    for n in range(FRIENDS):
        await talk.say(watchers[0], f"friend{n}", ["hello"])
    for watcher in watchers:
        watcher.watch([friend.user for friend in friends])
    here = [False] * FRIENDS
    for round_ in range(ROUNDS):
        await accident(lab, redis)
        for n, friend in enumerate(friends):
            if (n + round_) % 2 != here[n]:
                await (friend.go() if here[n] else friend.come())
                here[n] = not here[n]
        for watcher in watchers:
            seconds = await until(
                lambda watcher=watcher: shown(watcher, friends) == here,  # type: ignore[misc]
                30,
                lambda watcher=watcher: f"{shown(watcher, friends)} is not {here}",  # type: ignore[misc]
            )
            print(f"right after {seconds:.1f} s")
        await asyncio.to_thread(lab.wait_healthy)
    for friend in friends:
        await friend.go()


@pytest.mark.soak
async def test_a_node_that_is_slow_to_take_its_lease_again_after_redis_was_emptied_is_not_dead(
    lab: Stack, talk: Talk, redis: RedisClient
) -> None:
    """It has as long as it has to renew it."""
    alice = await talk.join("alice")  # on gateway 1
    await talk.say(alice, "friend", ["hello"])
    events = talk.heard[f"{talk.user('alice')}/one"]

    def heard() -> list[bool]:
        return [event.online for event in events if isinstance(event, PresenceChanged)]

    alice.watch([talk.user("friend")])
    async with Client(lab.gateway_urls[1], token_of(lab, talk.user("friend")), "one") as friend:
        await friend.online()
        await until(lambda: any(heard()), 20, heard)
        before = len(heard())
        for _ in range(ROUNDS):
            await asyncio.sleep(2 * LEASE_SECONDS)  # what Redis remembers is relied on
            lab.kill("gateway-2", signal.SIGSTOP)
            await redis.command("FLUSHALL")
            await asyncio.sleep(LEASE_SECONDS - RENEW_SECONDS)
            lab.kill("gateway-2", signal.SIGCONT)
            await asyncio.sleep(LEASE_SECONDS)
            assert all(heard()[before:])
            assert friend.state == "online"


async def test_the_users_of_a_node_that_dies_are_offline_once_unless_they_came_back(
    lab: Stack, talk: Talk
) -> None:
    alice = await talk.join("alice", gateway=0)
    for name in ("stays", "goes"):
        await talk.say(alice, name, ["hello"])
    stays, goes = talk.user("stays"), talk.user("goes")
    events = talk.heard[f"{talk.user('alice')}/one"]

    def heard() -> list[tuple[str, bool]]:
        return [
            (event.user, event.online) for event in events if isinstance(event, PresenceChanged)
        ]

    alice.watch([stays, goes])
    for _ in range(ROUNDS):
        events.clear()
        comes_back = Client(list(reversed(lab.gateway_urls)), token_of(lab, stays), "one")
        is_lost = BreakableClient(lab.gateway_urls[1], token_of(lab, goes), "one")
        async with comes_back, is_lost:
            await comes_back.online()
            await is_lost.online()
            await until(lambda: {(stays, True), (goes, True)} <= set(heard()), 20, heard)
            events.clear()
            lab.kill("gateway-2", signal.SIGSTOP)
            is_lost.network.away = True
            is_lost.network.abort()
            lab.kill("gateway-2")
            seconds = await until(lambda: any(user == goes for user, _ in heard()), 30, heard)
            print(f"offline {seconds:.1f} s after its node died")
            await asyncio.sleep(3)
            assert heard() == [(goes, False)]
        await asyncio.to_thread(lab.wait_healthy)
        await until(lambda: (stays, False) in heard(), 20, heard)
