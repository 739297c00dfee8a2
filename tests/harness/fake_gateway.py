"""A scriptable gateway in memory that misbehaves on demand: drops, delays, reorders, repeats,
closes with any code. It is the Dialer of a client."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Self

import msgspec

from messenger_sdk import Closed
from schemas import frames
from schemas.codec import encode_frame, join_frames, split_frames

LOG = "log-1"
_AWAY = 1001


class Line:
    """One connection of a device, as the script sees it."""

    def __init__(self, number: int) -> None:
        self.number = number
        """Which connection of the client this is, from 0."""
        self.device = ""
        self.token = ""
        self.stay_asked = False
        self.url = ""
        self.receipts: list[frames.Received | frames.Read] = []
        self.asked_marks: list[frames.GetMarks] = []
        self.up: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.down: asyncio.Queue[bytes | Closed] = asyncio.Queue()
        self.ended = False
        self._read: list[frames.Command] = []

    async def receive(self) -> frames.Command:
        """The device's next frame; what is about marks is put aside. Raises ConnectionError when it
        has gone."""
        while True:
            frame = await self._receive()
            if isinstance(frame, frames.GetMarks):
                self.asked_marks.append(frame)
            elif isinstance(frame, frames.Received | frames.Read):
                self.receipts.append(frame)
            else:
                return frame

    async def _receive(self) -> frames.Command:
        while not self._read:
            message = await self.up.get()
            if message is None:
                raise ConnectionError("the device has gone")
            self._read += [
                msgspec.json.decode(line, type=frames.Command) for line in split_frames(message)
            ]
        return self._read.pop(0)

    async def sends(self, count: int) -> list[frames.Send]:
        """The next `count` sends, other frames left out."""
        sends: list[frames.Send] = []
        while len(sends) < count:
            frame = await self.receive()
            if isinstance(frame, frames.Send):
                sends.append(frame)
        return sends

    async def asked(self) -> frames.History:
        """The next question for a range, other frames left out."""
        while True:
            frame = await self.receive()
            if isinstance(frame, frames.History):
                return frame

    def say(self, *said: frames.ServerFrame) -> None:
        """Frames in one message."""
        self.down.put_nowait(join_frames([encode_frame(frame) for frame in said]))

    def say_raw(self, text: bytes) -> None:
        self.down.put_nowait(text)

    async def welcome(self, user: str = "alice", log: str = LOG) -> frames.Hello:
        hello = await self.receive()
        assert isinstance(hello, frames.Hello)
        self.device, self.token, self.stay_asked = hello.device, hello.token, hello.stay
        self.say(frames.Welcome(hello.id, 1, user, hello.device, "node", log, 0, 25.0))
        return hello

    async def welcome_and_sync(self, log: str = LOG) -> frames.Sync:
        """Welcome the device; returns its first question."""
        await self.welcome(log=log)
        sync = await self.receive()
        assert isinstance(sync, frames.Sync)
        return sync

    def close(self, code: int, reason: str = "") -> None:
        if not self.ended:
            self.ended = True
            self.down.put_nowait(Closed(code, reason))
            self.up.put_nowait(None)

    def drop(self) -> None:
        """The connection ends without a word."""
        self.close(0)

    async def stay(self) -> None:
        """Until the device goes."""
        while True:
            await self.receive()


class _Link:
    """The device's end of a line."""

    def __init__(self, line: Line) -> None:
        self._line = line

    async def send(self, message: bytes) -> None:
        if self._line.ended:
            raise ConnectionError("the line has ended")
        self._line.up.put_nowait(message)

    async def receive(self) -> bytes | Closed:
        message = await self._line.down.get()
        if isinstance(message, Closed):
            self._line.down.put_nowait(message)
        return message

    async def close(self) -> None:
        self._line.close(1000)


Script = Callable[[Line], Awaitable[None]]


class FakeGateway:
    """`script` runs once for each connection; when it returns the connection is closed with 1001.
    If it fails, the client stops, and the `async with` raises what it raised."""

    def __init__(self, script: Script) -> None:
        self.lines: list[Line] = []
        self._script = script
        self._failure: Exception | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def connections(self) -> int:
        return len(self.lines)

    async def dial(self, url: str) -> _Link:
        if self._failure is not None:
            raise RuntimeError("the script has failed")
        line = Line(len(self.lines))
        line.url = url
        self.lines.append(line)
        self._tasks.append(asyncio.create_task(self._serve(line)))
        return _Link(line)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for line in self.lines:
            line.close(_AWAY)
        await asyncio.gather(*self._tasks)
        if self._failure is not None:
            raise self._failure

    async def _serve(self, line: Line) -> None:
        try:
            await self._script(line)
        except ConnectionError:
            pass
        except Exception as error:
            self._failure = error
        line.close(_AWAY)


def sent(send: frames.Send, seq: int, conversation: str = "alice:bob") -> frames.Sent:
    """The answer to a send."""
    return frames.Sent(conversation, send.outbox, send.ordinal, send.key, seq, 1000 + seq)


async def eventually(condition: Callable[[], bool], timeout: float = 60.0) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.005)
