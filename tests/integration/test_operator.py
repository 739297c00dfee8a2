"""What operators ask of a running stack, by `messenger operator`."""

import asyncio
import json
from typing import Any

import pytest

from schemas.codes import Close
from tests.harness.device import connect_raw
from tests.harness.stack import Stack
from tests.harness.talk import Talk

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]


async def _ask(stack: Stack, *words: str) -> dict[str, Any]:
    done = await asyncio.to_thread(stack.run, "operator", *words)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


async def test_an_operator_writes_to_a_user_finds_and_disconnects_her(stack: Stack) -> None:
    async with Talk(stack, "operated") as talk:
        phone = await talk.join("alice", "phone", gateway=1)
        alice = talk.user("alice")
        repeated = ["send", "--as", "operated-news", "--to", alice, "--key", "d" * 32, "Closed."]
        sent = await _ask(stack, *repeated)
        assert await _ask(stack, *repeated) == sent
        talk.sent(sent["conversation"], 1, "Closed.")
        await talk.settle()
        assert talk.verdict().lines() == ["dense, once, in order, equal everywhere"]
        status = await _ask(stack, "user", alice)
        (device,) = status["devices"]
        assert (device["device"], device["url"]) == ("phone", stack.gateway_urls[1])
        raw = await connect_raw(stack, alice, "laptop", gateway=1)
        await _ask(stack, "disconnect", alice, "laptop")
        async with asyncio.timeout(60):
            await raw.closed.wait()
        assert raw.code == Close.DISCONNECTED.number
        assert phone.state == "online", "only the device that was named"
        await raw.close()
