"""Marks while what carries them is killed: never backwards, and at the end the same on every
device."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import aiohttp
import pytest

from connectors.redis.client import RedisClient
from tests.chaos.conftest import ROUNDS
from tests.harness.client import BreakableClient
from tests.harness.device import connect
from tests.harness.load import Load
from tests.harness.stack import Stack
from tests.harness.talk import Talk

pytestmark = [pytest.mark.real, pytest.mark.chaos, pytest.mark.timeout(300 + 60 * ROUNDS)]
PARTS = {"gateways": 2, "cursors": 1, "presence": 1}


async def killed_cursors(lab: Stack, redis: RedisClient, round_: int) -> None:
    lab.kill("cursors-1")


async def killed_gateway(lab: Stack, redis: RedisClient, round_: int) -> None:
    lab.kill(f"gateway-{round_ % 2 + 1}")


async def wiped_redis(lab: Stack, redis: RedisClient, round_: int) -> None:
    await redis.command("FLUSHALL")


class Watcher:
    """Asks for the marks of some conversations again and again: none may ever be lower than before,
    nor gone."""

    def __init__(self, lab: Stack, user: str, conversations: list[str]) -> None:
        self.answers = 0
        self._lab = lab
        self._user = user
        self._conversations = conversations
        self._seen: dict[tuple[str, str], tuple[int, int]] = {}
        self._task = asyncio.create_task(self._watch())

    async def end(self) -> None:
        self._task.cancel()
        results = await asyncio.gather(self._task, return_exceptions=True)
        assert isinstance(results[0], asyncio.CancelledError), results

    async def _watch(self) -> None:
        async with aiohttp.ClientSession() as http:
            for turn in range(10**9):
                try:
                    device = await connect(http, self._lab, self._user, turn % 2)
                    while True:
                        answer = await device.ask("get_marks", conversations=self._conversations)
                        # an owner that has lost the partition meanwhile may know less, and the
                        # answer says so
                        if answer["t"] == "marks" and not answer.get("pending"):
                            self._compare(answer.get("marks", ()))
                        await asyncio.sleep(0.05)
                except (aiohttp.ClientError, OSError, AttributeError, TimeoutError):
                    await asyncio.sleep(0.1)

    def _compare(self, marks: Sequence[Mapping[str, Any]]) -> None:
        found = {
            (mark["conversation"], mark["user"]): (mark["received"], mark["read"]) for mark in marks
        }
        for place in self._seen.keys() | found.keys():
            now, before = found.get(place, (0, 0)), self._seen.get(place, (0, 0))
            assert now[0] >= before[0], f"{place}: {now} after {before}"
            assert now[1] >= before[1], f"{place}: {now} after {before}"
            self._seen[place] = now
            self.answers += 1


@pytest.mark.parametrize("accident", [killed_cursors, killed_gateway, wiped_redis])
async def test_under_load(
    lab: Stack,
    talk: Talk,
    load: Load,
    redis: RedisClient,
    judged: Callable[[], Awaitable[None]],
    accident: Callable[[Stack, RedisClient, int], Awaitable[None]],
) -> None:
    await load.start()
    mine = [f"{talk.user('a0')}:{talk.user('b0')}"]
    watcher = Watcher(lab, talk.user("a0"), mine)
    reading = [asyncio.create_task(read_all(talk, name)) for name in list(talk.clients)]
    for round_ in range(ROUNDS):
        await load.sent(100)
        await accident(lab, redis, round_)
        await asyncio.sleep(0.5)
        print(f"away for {await load.dark():.1f} s")
        await asyncio.to_thread(lab.wait_healthy)
    await load.stop()
    await judged()
    for task in reading:
        task.cancel()
    last = {
        conversation: max(m.seq for m in talk.accepted if m.conversation == conversation)
        for conversation in talk.last
    }
    async with asyncio.timeout(60):
        while differences(talk, last) or watcher.answers < 10:
            await asyncio.sleep(0.1)
    await watcher.end()


async def read_all(talk: Talk, device: str) -> None:
    """A person who reads whatever is shown."""
    client = talk.clients[device]
    while True:
        for message in talk.shown[device][-1:]:
            client.read(message.conversation, message.seq)
        await asyncio.sleep(0.05)


def differences(talk: Talk, last: dict[str, int]) -> list[str]:
    """Devices that do not show that both users have received and read everything; a user's own last
    message cannot be."""
    wrong = []
    for device, client in talk.clients.items():
        user = device.split("/")[0]
        for conversation, seq in last.items():
            if user not in conversation.split(":"):
                continue
            for member in conversation.split(":"):
                theirs = [
                    m.seq
                    for m in talk.accepted
                    if m.conversation == conversation and talk.user(m.body.split()[0]) != member
                ]
                mark = client.device.mark(conversation, member)
                if mark.received < max(theirs) or mark.read < max(theirs):
                    wrong.append(f"{device} sees {mark}, {seq} is the last")
    return wrong


async def test_device_receives_its_gateway_dies_before_the_receipt_leaves_it_comes_back_on_another_node(  # noqa: E501
    lab: Stack, talk: Talk
) -> None:
    alice = await talk.join("alice", gateway=0)
    for round_ in range(ROUNDS):
        user, bob = talk.user(f"bob{round_}"), await talk.join(f"bob{round_}", gateway=1)
        gateway = gateway_of(lab, bob)
        assert gateway != gateway_of(lab, alice)
        sent = await alice.send(user, f"message {round_}")
        async with asyncio.timeout(60):
            while not talk.shown[f"{user}/one"]:
                await asyncio.sleep(0.01)
        lab.kill(gateway, signal.SIGSTOP)
        bob.read(sent.conversation, sent.seq)
        await asyncio.sleep(0.2)
        assert alice.device.mark(sent.conversation, user).read < sent.seq
        lab.kill(gateway)
        async with asyncio.timeout(60):
            while alice.device.mark(sent.conversation, user).read < sent.seq:
                await asyncio.sleep(0.02)
        await asyncio.to_thread(lab.wait_healthy)
        assert gateway_of(lab, bob) == gateway_of(lab, alice)


def gateway_of(lab: Stack, client: BreakableClient) -> str:
    return f"gateway-{client.network.port - lab.base_port + 1}"
