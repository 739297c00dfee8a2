"""Written without a network, killed, started again: everything arrives once, in order, on all
devices of both users."""

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.edge.tokens import issue
from messenger_sdk import Client, MessageReceived
from schemas.ids import user_id
from tests.harness.stack import Stack
from tests.harness.talk import Talk

pytestmark = pytest.mark.real
COUNT = 20


async def test_twenty_messages_written_offline_survive_kill_9(stack: Stack, tmp_path: Path) -> None:
    path = tmp_path / "phone"
    async with Talk(stack, "offline") as talk:
        alice, bob = talk.user("alice"), talk.user("bob")
        for name, device in (("alice", "tablet"), ("bob", "phone"), ("bob", "tablet")):
            await talk.join(name, device)
        command = [sys.executable, "-m", "tests.harness.offline_writer", str(path), bob, str(COUNT)]
        writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        assert await asyncio.to_thread(writer.stdout.readline) == "written\n"
        writer.kill()
        writer.wait()
        writer.stdout.close()

        token = issue(user_id(alice), stack.token_secret, time.time())
        async with Client(stack.gateway_urls[0], token, "phone", folder=path) as phone:
            assert len(phone.device.unanswered()) == COUNT
            async with asyncio.timeout(60):
                while phone.device.unanswered() or any(
                    len(shown) < COUNT for shown in talk.shown.values()
                ):
                    await asyncio.sleep(0.02)
    wanted = [(number, f"written offline {number}") for number in range(1, COUNT + 1)]
    assert len(talk.shown) == 3
    for shown in talk.shown.values():
        assert [(message.seq, message.body) for message in shown] == wanted


async def test_a_device_that_was_ended_shows_what_came_meanwhile(
    stack: Stack, tmp_path: Path
) -> None:
    async with Talk(stack, "ended") as talk:
        alice, carol = await talk.join("alice"), await talk.join("carol")
        bob = talk.user("bob")
        token = issue(user_id(bob), stack.token_secret, time.time())
        shown: list[tuple[str, int, str]] = []

        async def watch(phone: Client) -> None:
            async for event in phone:
                if isinstance(event, MessageReceived):
                    shown.append((event.sender, event.seq, event.body))

        async def listen(count: int) -> None:
            """Run until so many messages have been shown in all."""
            async with Client(
                stack.gateway_urls[0], token, "phone", folder=tmp_path / "phone"
            ) as phone:
                watching = asyncio.create_task(watch(phone))
                async with asyncio.timeout(60):
                    while not phone.device.begun or len(shown) < count:
                        await asyncio.sleep(0.02)
                await phone.close()
                await watching

        await talk.say(alice, "bob", ["before bob began"])
        await listen(0)
        await talk.say(alice, "bob", [f"while away {n}" for n in range(1, 121)])
        await talk.say(carol, "bob", ["hello"])
        await listen(121)
        await talk.say(alice, "bob", ["again"])
        await listen(122)
        mine = [(seq, body) for sender, seq, body in shown if sender == talk.user("alice")]
        assert mine == [*((n + 1, f"while away {n}") for n in range(1, 121)), (122, "again")]
        assert [entry for entry in shown if entry[0] == talk.user("carol")] == [
            (talk.user("carol"), 1, "hello")
        ]
