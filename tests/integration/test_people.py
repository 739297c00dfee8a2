"""Who has blocked whom, through the whole real stack."""

import asyncio
import signal
import subprocess
import sys

import pytest

from messenger_sdk import Client, PersonChanged, PrivacyChanged, SendRefused
from schemas.codes import Code
from tests.harness.device import token_of
from tests.harness.ports import free_base_port
from tests.harness.stack import Stack
from tests.harness.talk import Talk
from tests.integration.test_gateway_start import environment, process, until_it_says
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
        await eventually(lambda: not alice.device.blocked, "alice's first device knows")

        await alice.set_privacy("contacts", reads=False)
        await eventually(lambda: online(bob, a) is False, "alice shows herself to contacts")
        await alice.add_contact(b)
        await eventually(lambda: online(bob, a) is True, "bob is one")
        await eventually(lambda: tab.device.contacts == {b}, "alice's other device knows")
        assert await tab.privacy() == PrivacyChanged("contacts", False)
        alice.read(conversation, 2)
        await eventually(lambda: tab.device.mark(conversation, a).read == 2, "alice has read")
        third = await talk.join("bob", "third")
        await eventually(lambda: third.device.mark(conversation, a).received == 2, "they are there")
        assert third.device.mark(conversation, a).read == 0


async def test_a_stranger_sends_one_message_and_more_once_they_are_accepted(stack: Stack) -> None:
    """The policy `requests`, at one more gateway of the stack, beside those that have another."""
    port = free_base_port()
    settings = {"MESSENGER_POLICY": "requests", "MESSENGER_HTTP_PORT": str(port)}
    settings |= {"MESSENGER_DRAIN_SECONDS": "0", "MESSENGER_PROBE_SECONDS": "0"}
    with process(environment(stack, **settings)) as gateway:
        await asyncio.to_thread(until_it_says, gateway, " serves ", 60)

        def device(user: str) -> Client:
            return Client(f"http://127.0.0.1:{port}", token_of(stack, user), "one")

        async def requests_of(client: Client, *users: str) -> None:
            async with asyncio.timeout(60):
                while await client.requests() != set(users):
                    await asyncio.sleep(0.05)

        async def refused(client: Client, to: str) -> bool:
            """Whether it is: a decision is told to gateways, which takes a moment."""
            try:
                await client.send(to, "again")
            except SendRefused as error:
                return error.code == Code.NOT_ACCEPTED.number
            return False

        a, b, c = "requests-alice", "requests-bob", "requests-carol"
        async with device(a) as alice, device(c) as carol, device(b) as bob:
            for stranger in (alice, carol):
                assert (await stranger.send(b, "hello")).seq == 1
                assert await refused(stranger, b), "a second one of a stranger"
            await requests_of(bob, a, c)
            await bob.accept(a)
            await bob.decline(c)
            async with asyncio.timeout(60):
                while await refused(alice, b):
                    await asyncio.sleep(0.05)
            assert await refused(carol, b), "the declined one"
            await requests_of(bob)
            assert (await bob.send(a, "welcome")).seq == 3, "no number is used up by a refused send"
            assert not await refused(alice, b)
        gateway.send_signal(signal.SIGTERM)
        await asyncio.to_thread(gateway.communicate, timeout=60)
        assert gateway.returncode == 0


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
