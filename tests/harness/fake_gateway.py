"""A scriptable gateway on a real socket that misbehaves on demand: drops, delays, reorders,
repeats, closes with any code."""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

import msgspec
from aiohttp import WSMsgType, web

from schemas import frames
from schemas.codec import encode_frame, join_frames, split_frames

LOG = "log-1"


class Line:
    """One connection of a device, as the script sees it."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request, number: int) -> None:
        self.number = number
        """Which connection of the client this is, from 0."""
        self.device = ""
        self.receipts: list[frames.Received | frames.Read] = []
        self.asked_marks: list[frames.GetMarks] = []
        self._socket = socket
        self._request = request
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
            message = await self._socket.receive()
            if message.type is not WSMsgType.TEXT:
                raise ConnectionError("the device has gone")
            self._read += [
                msgspec.json.decode(line, type=frames.Command)
                for line in split_frames(message.data.encode())
            ]
        return self._read.pop(0)

    async def sends(self, count: int) -> list[frames.Send]:
        """The next `count` sends, pings left out."""
        sends: list[frames.Send] = []
        while len(sends) < count:
            frame = await self.receive()
            if isinstance(frame, frames.Send):
                sends.append(frame)
        return sends

    async def say(self, *said: frames.ServerFrame) -> None:
        """Frames in one WebSocket message."""
        await self._socket.send_str(join_frames([encode_frame(frame) for frame in said]).decode())

    async def say_raw(self, text: str) -> None:
        await self._socket.send_str(text)

    async def asked(self) -> frames.History:
        """The next question for a range, other frames left out."""
        while True:
            frame = await self.receive()
            if isinstance(frame, frames.History):
                return frame

    async def welcome(self, user: str = "alice", log: str = LOG) -> frames.Hello:
        hello = await self.receive()
        assert isinstance(hello, frames.Hello)
        self.device = hello.device
        await self.say(frames.Welcome(hello.id, 1, user, hello.device, "node", log, 0, 25.0))
        return hello

    async def close(self, code: int) -> None:
        await self._socket.close(code=code)

    def drop(self) -> None:
        """The connection ends without a word."""
        if self._request.transport is not None:
            self._request.transport.abort()

    async def stay(self) -> None:
        """Until the device goes."""
        while True:
            await self.receive()


Script = Callable[[Line], Awaitable[None]]


class FakeGateway:
    """`script` runs once for each connection; when it returns the connection is closed with
    1001."""

    def __init__(self, script: Script) -> None:
        self.connections = 0
        self.url = ""
        self.failures: list[BaseException] = []
        self._script = script
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.add_routes([web.get("/v1/socket", self._serve)])
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        if error is None and self.failures:
            raise self.failures[0]

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        line = Line(socket, request, self.connections)
        self.connections += 1
        try:
            await self._script(line)
        except ConnectionError:
            pass
        except (AssertionError, msgspec.DecodeError) as error:
            self.failures.append(error)
        if not socket.closed:
            await socket.close(code=1001)
        return socket


def sent(send: frames.Send, seq: int, conversation: str = "alice:bob") -> frames.Sent:
    """The answer to a send."""
    return frames.Sent(conversation, send.outbox, send.ordinal, send.key, seq, 1000 + seq)


async def eventually(condition: Callable[[], bool], timeout: float = 5.0) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.005)
