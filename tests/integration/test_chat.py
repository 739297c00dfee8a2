"""`messenger chat` in a pseudo-terminal, on the real stack."""

import pytest

from tests.harness.stack import Stack
from tests.harness.talk import Talk
from tests.harness.terminal import terminal

pytestmark = pytest.mark.real


async def test_two_people_talk_one_of_them_in_a_terminal(stack: Stack) -> None:
    async with Talk(stack, "tty") as talk:
        alice, bob = talk.user("alice"), await talk.join("bob")
        conversation = (await bob.send(alice, "Lunch?")).conversation
        with terminal(stack.environment(), "chat", alice, "--with", talk.user("bob")) as tty:
            await tty.until(lambda: "Lunch?" in tty.text and "Write to" in tty.text)
            tty.press("At one\r")
            await tty.until(lambda: "delivered" in tty.text)
            bob.read(conversation, 2)
            await tty.until(lambda: "read" in tty.text)
            await tty.until(lambda: bob.device.mark(conversation, alice).read == 2)
            tty.press("\x11")
            await tty.until(lambda: tty.process.poll() is not None)
            assert tty.process.returncode == 0, tty.text
