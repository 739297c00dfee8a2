"""A worker that is paused past its session and wakes up knows too little: gateways must not take
its heads for all there is, even if Redis was emptied and says nothing of the new owner."""

import asyncio
import signal
import time

import aiohttp
import pytest

from connectors.redis.client import RedisClient
from tests.chaos.conftest import ROUNDS
from tests.harness.device import connect
from tests.harness.stack import Stack
from tests.harness.talk import Talk

pytestmark = [pytest.mark.real, pytest.mark.chaos, pytest.mark.timeout(300 + 30 * ROUNDS)]
PARTS = {"workers": 2}
FRIENDS = 8


@pytest.mark.soak
@pytest.mark.parametrize("emptied", [False, True], ids=["Redis remembers", "Redis is emptied"])
async def test_heads_are_complete_or_pending_while_owners_are_paused(
    lab: Stack, talk: Talk, redis: RedisClient, emptied: bool
) -> None:
    """Fault 22: the worker that woke took back its claim, which had vanished with the rest of
    Redis, and answered."""
    me = talk.user("me")
    names = {
        f"{min(me, talk.user(f))}:{max(me, talk.user(f))}": f
        for f in (f"friend{n}" for n in range(FRIENDS))
    }
    acknowledged = dict.fromkeys(names, 0)
    stopping = asyncio.Event()

    async def speak(conversation: str, friend: str) -> None:
        client = await talk.join(friend)
        while not stopping.is_set():
            sent = await client.send(me, "hi")
            acknowledged[conversation] = sent.seq
            await asyncio.sleep(0.01)

    speaking = [asyncio.create_task(speak(*item)) for item in names.items()]
    complete = pending = 0

    async def ask(seconds: float, wanted: int = 0) -> None:
        """For so long, and until so many answers were complete."""
        nonlocal complete, pending
        until, wanted = time.monotonic() + seconds, complete + wanted
        while time.monotonic() < until or complete < wanted:
            before = dict(acknowledged)
            answer = await device.ask("sync", cursors={})
            if answer.get("pending") or answer["t"] == "error":
                pending += 1
            else:
                complete += 1
                behind = {
                    name: seq for name, seq in before.items() if answer["heads"].get(name, 0) < seq
                }
                assert not behind, f"heads {answer['heads']} are behind {behind}"

    async with aiohttp.ClientSession() as http:
        device = await connect(http, lab, me)
        await ask(1, wanted=20)
        for round_ in range(2 * ROUNDS):
            worker = f"worker-{round_ % 2 + 1}"
            lab.kill(worker, signal.SIGSTOP)
            await ask(5)
            if emptied:
                await redis.command("FLUSHALL")
            lab.kill(worker, signal.SIGCONT)
            await ask(3, wanted=20)
    stopping.set()
    async with asyncio.timeout(60):
        await asyncio.gather(*speaking)
    print(f"{complete} complete answers, {pending} pending")
    assert pending > 0
    assert min(acknowledged.values()) > 20
