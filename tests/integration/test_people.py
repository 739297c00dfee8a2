"""Who has blocked whom, through the whole real stack."""

import asyncio
import subprocess
import sys

import pytest

from messenger_sdk import PersonChanged, PrivacyChanged, SendRefused
from schemas.codes import Code
from tests.harness.device import token_of
from tests.harness.stack import Stack
from tests.harness.talk import Talk
from tests.integration.test_presence import eventually, online

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]


async def test_a_user_blocks_another_one_and_unblocks_them(stack: Stack) -> None:
    async with Talk(stack, "people") as talk:
        alice, tab = await talk.join("alice"), await talk.join("alice", "tab")
        bob = await talk.join("bob")
        a, b = talk.user("alice"), talk.user("bob")
        conversation = f"{a}:{b}"
        assert await tab.blocked() == frozenset()
        await bob.send(a, "one")
        bob.watch([a])
        await eventually(lambda: online(bob, a) is True, "bob sees alice")
        await eventually(lambda: bob.device.mark(conversation, a).received == 1, "alice has it")

        await alice.block(b)
        await eventually(lambda: online(bob, a) is False, "bob sees alice no more")
        with pytest.raises(SendRefused) as refused:
            await bob.send(a, "three")
        assert refused.value.code == Code.BLOCKED.number
        assert bob.device.presence[a].last_seen == 0
        await eventually(lambda: tab.device.blocked == {b}, "alice's other device knows")
        assert PersonChanged(b, True, False) in talk.heard[f"{a}/tab"]
        alice.read(conversation, 1)
        await eventually(lambda: tab.device.mark(conversation, a).read == 1, "alice has read")
        await asyncio.sleep(0.2)
        assert bob.device.mark(conversation, a).read == 0
        again = await talk.join("bob", "again")
        assert again.device.mark(conversation, a).read == 0

        await tab.unblock(b)
        await eventually(lambda: online(bob, a) is True, "bob sees alice again")
        assert (await bob.send(a, "four")).seq == 2
        assert await alice.blocked() == frozenset()

        await alice.set_privacy("contacts", reads=False)
        await eventually(lambda: online(bob, a) is False, "alice shows herself to contacts")
        await alice.add_contact(b)
        await eventually(lambda: online(bob, a) is True, "bob is one")
        assert await tab.contacts() == {b}
        assert await tab.privacy() == PrivacyChanged("contacts", False)
        alice.read(conversation, 2)
        await eventually(lambda: tab.device.mark(conversation, a).read == 2, "alice has read")
        third = await talk.join("bob", "third")
        await eventually(lambda: third.device.mark(conversation, a).received == 2, "they are there")
        assert third.device.mark(conversation, a).read == 0


def test_the_command_line_blocks(stack: Stack) -> None:
    def messenger(*words: str) -> str:
        command = [sys.executable, "-m", "ops", *words, "--url", stack.gateway_urls[0]]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    token = ["--as", "cli-alice", "--token", token_of(stack, "cli-alice")]
    messenger("block", *token, "cli-bob")
    assert messenger("blocked", *token) == "cli-bob\n"
    assert messenger("contacts", *token, "--add", "cli-carol") == "cli-carol\n"
    shown = messenger("privacy", *token, "--presence", "contacts", "--no-reads")
    assert shown == "presence contacts\nreads nobody\n"
    assert messenger("requests", *token) == ""
