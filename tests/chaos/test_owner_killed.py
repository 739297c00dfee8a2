"""R9 while the worker that has the partition is killed, and while partitions move: never a wrong
page, and soon a right one."""

import asyncio
import time

import aiohttp
import pytest

from schemas.codes import Code
from tests.chaos.conftest import ROUNDS
from tests.harness.device import connect, seqs
from tests.harness.stack import Stack
from tests.harness.talk import Talk

pytestmark = [pytest.mark.real, pytest.mark.chaos, pytest.mark.timeout(300 + 30 * ROUNDS)]
COUNT = 300


PARTS = {"workers": 2}


async def test_pages_while_the_owners_are_killed(lab: Stack, talk: Talk) -> None:
    async with aiohttp.ClientSession() as http:
        alice, bob = talk.user("alice"), talk.user("bob")
        sender = await talk.join("alice")
        await talk.say(sender, "bob", [f"message {number}" for number in range(1, COUNT + 1)])
        device = await connect(http, lab, bob)
        longest, refused, pending = 0.0, 0, 0
        for round_ in range(ROUNDS * 2):
            lab.kill(f"worker-{round_ % 2 + 1}")
            killed = good = time.monotonic()
            after = 0
            while time.monotonic() < killed + 8:
                answer = await device.ask("history", conversation=f"{alice}:{bob}", after=after)
                if answer["t"] == "error":
                    assert answer["code"] == Code.TRY_LATER.number
                    refused += 1
                    await asyncio.sleep(0.05)
                    continue
                heads = await device.ask("sync", cursors={f"{alice}:{bob}": after})
                told = heads.get("heads") == {f"{alice}:{bob}": COUNT}
                assert told or heads.get("pending") or heads.get("code") == Code.TRY_LATER.number
                pending += not told
                assert seqs(answer) == list(range(after + 1, min(after + 100, COUNT) + 1))
                assert [message["body"] for message in answer["messages"]] == [
                    f"message {n}" for n in seqs(answer)
                ]
                longest, good = max(longest, time.monotonic() - good), time.monotonic()
                after = (after + 100) % COUNT
            await asyncio.to_thread(lab.wait_healthy)
        print(
            f"without a page for at most {longest:.1f} s; {refused} times told to try later, "
            f"{pending} times without heads"
        )
        assert longest < 8
