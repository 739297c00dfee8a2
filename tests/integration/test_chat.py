"""`messenger chat` in a pseudo-terminal, on the real stack."""

import asyncio
import os
import pty
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pyte
import pytest

from tests.harness.stack import Stack
from tests.harness.talk import Talk

pytestmark = pytest.mark.real

_COLUMNS, _ROWS = 100, 30
_SECONDS = 60.0


class Terminal:
    """Where the command runs, and what stands on it."""

    def __init__(self, process: "subprocess.Popen[bytes]", end: int) -> None:
        self.process = process
        self._end = end
        self._screen = pyte.Screen(_COLUMNS, _ROWS)
        self._stream = pyte.ByteStream(self._screen)
        asyncio.get_running_loop().add_reader(end, self._read)

    @property
    def text(self) -> str:
        return "\n".join(self._screen.display)

    def press(self, keys: str) -> None:
        os.write(self._end, keys.encode())

    async def until(self, holds: Callable[[], object]) -> None:
        try:
            async with asyncio.timeout(_SECONDS):
                while not holds():
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(self.text) from None

    def _read(self) -> None:
        try:
            self._stream.feed(os.read(self._end, 65536))
        except OSError:  # the command has ended
            asyncio.get_running_loop().remove_reader(self._end)


@contextmanager
def terminal(stack: Stack, *arguments: str) -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (_ROWS, _COLUMNS))
    process = subprocess.Popen(
        [sys.executable, "-m", "ops", *arguments],
        env=stack.environment() | {"TERM": "xterm-256color"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        asyncio.get_running_loop().remove_reader(ours)
        process.kill()
        process.wait()
        os.close(ours)


async def test_two_people_talk_one_of_them_in_a_terminal(stack: Stack) -> None:
    async with Talk(stack, "tty") as talk:
        alice, bob = talk.user("alice"), await talk.join("bob")
        conversation = (await bob.send(alice, "Lunch?")).conversation
        with terminal(stack, "chat", alice, "--with", talk.user("bob")) as tty:
            await tty.until(lambda: "Lunch?" in tty.text and "Write to" in tty.text)
            tty.press("At one\r")
            await tty.until(lambda: "delivered" in tty.text)
            bob.read(conversation, 2)
            await tty.until(lambda: "read" in tty.text)
            await tty.until(lambda: bob.device.mark(conversation, alice).read == 2)
            tty.press("\x11")
            await tty.until(lambda: tty.process.poll() is not None)
            assert tty.process.returncode == 0, tty.text
