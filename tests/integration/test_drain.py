"""A gateway that leaves: its devices are answered, sent to the other node, and miss nothing."""

import asyncio
import json
import time
import urllib.error
import urllib.request

import pytest

from gateway.edge.tokens import issue, issue_operator
from messenger_sdk import StateChanged
from schemas.codes import Close
from schemas.ids import user_id
from tests.harness.stack import Stack
from tests.harness.talk import Talk

pytestmark = pytest.mark.real


async def test_drained_by_command_while_people_talk(stack: Stack) -> None:
    async with Talk(stack, "drain") as talk:
        alice, bob = await talk.join("alice"), await talk.join("bob")
        closes: list[int] = []

        async def watch() -> None:
            async for event in alice:
                if isinstance(event, StateChanged) and event.code:
                    closes.append(event.code)

        talk._watching.pop(0).cancel()
        talk.shown.pop(f"{talk.user('alice')}/one")
        watching = asyncio.create_task(watch())
        saying = asyncio.create_task(
            talk.say(alice, "bob", [f"while it drains {number}" for number in range(200)])
        )
        for number in range(50):
            await asyncio.sleep(0.002)
            talk.begin(alice, "bob", f"one by one {number}")
        drained = await asyncio.to_thread(stack.run, "gateway", "drain")
        assert drained.returncode == 0, drained.stderr
        assert "has gone" in drained.stdout
        await saying
        await bob.online()
        await talk.settle()
        watching.cancel()
        assert closes == [Close.DRAINING.number]
        assert talk.verdict().lines() == ["dense, once, in order, equal everywhere"]
    await asyncio.to_thread(stack.wait_healthy)
    assert "drained; 0 sessions are left" in stack.log("gateway-1")


def test_only_an_operator_may(stack: Stack) -> None:
    user = issue(user_id("mallory"), stack.token_secret, time.time())
    for token in (
        "",
        "garbage",
        user,
        issue_operator(stack.token_secret, 1_000_000_000),
        issue_operator("x" * 32, time.time()),
        issue_operator(stack.token_secret, time.time()),  # the users' secret
    ):
        request = urllib.request.Request(
            f"{stack.gateway_urls[0]}/v1/drain",
            method="POST",
            headers={"Authorization": f"Bearer {token}"},
        )
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=10)
        assert refused.value.code == 401
        assert "operator" in json.load(refused.value)["detail"]
        refused.value.close()


def test_a_node_that_is_not_there(stack: Stack) -> None:
    drained = stack.run("gateway", "drain", "--url", "http://127.0.0.1:1")
    assert (drained.returncode, "no gateway answers" in drained.stderr) == (3, True)
