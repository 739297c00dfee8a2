"""A command in a pseudo-terminal, for whoever types there and reads the screen."""

import asyncio
import os
import pty
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import pyte

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

    def vanish(self) -> None:
        """Close it, of which the command gets no signal: it is no session's own terminal."""
        asyncio.get_running_loop().remove_reader(self._end)
        os.close(self._end)
        self._end = -1

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
def terminal(environment: Mapping[str, str], *arguments: str) -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (_ROWS, _COLUMNS))
    process = subprocess.Popen(
        [sys.executable, "-m", "ops", *arguments],
        env={**environment, "TERM": "xterm-256color"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown = Terminal(process, ours)
    try:
        yield shown
    finally:
        process.kill()
        process.wait()
        if shown._end >= 0:
            shown.vanish()
