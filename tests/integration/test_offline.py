"""Written without a network, killed, started again: everything arrives once, in order, on all devices of both users."""

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.tokens import issue
from messenger_sdk import Client
from schemas.ids import user_id
from tests.harness.stack import Stack
from tests.harness.talk import Talk

pytestmark = pytest.mark.real
COUNT = 20


async def test_twenty_messages_written_offline_survive_kill_9(stack: Stack, tmp_path: Path) -> None:
    path = tmp_path / "outbox"
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
        async with Client(stack.gateway_urls[0], token, "phone", outbox=path) as phone:
            assert len(phone.unanswered()) == COUNT
            async with asyncio.timeout(20):
                while phone.unanswered() or any(len(shown) < COUNT for shown in talk.shown.values()):
                    await asyncio.sleep(0.02)
    wanted = [(number, f"written offline {number}") for number in range(1, COUNT + 1)]
    assert len(talk.shown) == 3
    for shown in talk.shown.values():
        assert [(message.seq, message.body) for message in shown] == wanted
