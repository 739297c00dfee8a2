"""A device of the model: the SDK's own client, on a line to a node instead of a socket."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp

from messenger_sdk import Client
from messenger_sdk.connection import Connection
from schemas import frames
from schemas.codec import decode_server_frames, encode_frame
from schemas.codes import Close
from tests.property.gateways import Line


class LineConnection(Connection):
    """`connect` it while it `waits` for a line; `receive` what the line brings."""

    def __init__(self, *parts: Any) -> None:
        super().__init__("", *parts)
        self.line: Line | None = None
        self._dialling: asyncio.Future[Line] | None = None
        self._heard: asyncio.Future[int] | None = None

    async def _session(self, http: aiohttp.ClientSession) -> int:
        self._dialling = asyncio.get_running_loop().create_future()
        try:
            line = self.line = await self._dialling
        finally:
            self._dialling = None
        self._heard = asyncio.get_running_loop().create_future()
        hello = frames.Hello(1, frames.CURRENT_VERSION, self._token, self._device)
        line.up.append(encode_frame(hello))
        try:
            return await self._heard
        finally:
            line.ended = True  # unless it is broken, the node hears of it
            self.line = self._heard = None

    @property
    def waits(self) -> bool:
        return self._dialling is not None and not self._dialling.done()

    def connect(self, line: Line) -> None:
        assert self._dialling is not None
        self._dialling.set_result(line)

    def receive(self) -> None:
        """The next message on the line, or the news that it is no more."""
        line, heard = self.line, self._heard
        if line is None or heard is None or heard.done():
            return
        if not line.down:
            if line.broken:
                heard.set_result(0)
            return
        message = line.down.pop(0)
        if isinstance(message, Close):
            assert message.retry, (
                f"{self._token}/{self._device} was told to stay away: {message.name}"
            )
            heard.set_result(message.number)
            return
        for frame in decode_server_frames(message):
            if isinstance(frame, frames.Welcome):
                self._socket = _Socket(line)  # type: ignore[assignment]
                self._on_welcome(frame)
                self._on_state("online", 0)
            else:
                self._on_frame(frame)

    def lost(self) -> None:
        """The network is gone."""
        if self.line is not None and self._heard is not None and not self._heard.done():
            self.line.broken = True
            self._heard.set_result(0)


class LineClient(Client):
    """`off` switches a rule of the device off."""

    def __init__(
        self, user: str, device: str, folder: Path | None, new_id: Callable[[], str], off: str
    ) -> None:
        super().__init__("", user, device, folder=folder, jitter=lambda: 0.5, new_id=new_id)
        self.connection = self._connection = LineConnection(
            user, device, self._clock, lambda: 0.5, self._become, self._welcomed, self._take
        )
        self._off = off

    @property
    def busy(self) -> bool:
        """There is something that it waits for."""
        receiver, line = self._receiver, self.connection.line
        asks = (
            receiver.marks.wake_at() is not None
            or receiver.watch_list.wake_at() is not None
            or receiver._catching_up.busy
        )
        return bool(
            line is None or line.down or asks or receiver.timelines.behind() or self.unanswered()
        )

    def _welcomed(self, welcome: frames.Welcome) -> None:
        receiver = self._receiver
        begin = receiver._catching_up.begin
        if self._off == "a welcomed device asks" and receiver.timelines.begun:
            receiver._catching_up.begin = lambda: None  # type: ignore[method-assign]
        if self._off == "who writes has read":
            receiver.marks.shown = lambda message: None  # type: ignore[method-assign]
        super()._welcomed(welcome)
        receiver._catching_up.begin = begin  # type: ignore[method-assign]

    def _take(self, frame: frames.ServerFrame) -> None:
        receiver = self._receiver
        begin = receiver.watch_list.begin
        if self._off == "who watches asks again" and isinstance(frame, frames.Resync):
            receiver.watch_list.begin = lambda now: None  # type: ignore[method-assign]
        receiver.take(frame)
        receiver.watch_list.begin = begin  # type: ignore[method-assign]
        if self._off == "what the server does not know is said again" and isinstance(
            frame, frames.Marks
        ):
            receiver.marks._unsaid.clear()


class _Socket:
    closed = False

    def __init__(self, line: Line) -> None:
        self._line = line

    async def send_str(self, message: str) -> None:
        self._line.up.append(message.encode())
