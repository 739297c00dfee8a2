"""A device of the model: the SDK's own client, on a line to a node instead of a socket."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from messenger_sdk import Client, Closed
from messenger_sdk.device import Happenings
from schemas import frames
from schemas.codes import Close
from tests.property.gateways import Line


class LineDialer:
    """`connect` it while it `waits` for a line; `receive` what the line brings."""

    def __init__(self) -> None:
        self.line: Line | None = None
        self._dialling: asyncio.Future[Line] | None = None
        self._heard: asyncio.Future[bytes | Closed] | None = None

    async def dial(self, url: str) -> "LineLink":
        self._dialling = asyncio.get_running_loop().create_future()
        try:
            self.line = await self._dialling
        finally:
            self._dialling = None
        self._heard = asyncio.get_running_loop().create_future()
        return LineLink(self, self.line)

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
        if line.down:
            message = line.down.pop(0)
            if isinstance(message, Close):
                assert message.retry, f"{line.user} was told to stay away: {message.name}"
            heard.set_result(Closed(message.number) if isinstance(message, Close) else message)
        elif line.broken:
            heard.set_result(Closed(0))

    def lost(self) -> None:
        """The network is gone."""
        if self.line is not None and self._heard is not None:
            self.line.broken = True
            self.line.down.clear()
            if not self._heard.done():
                self._heard.set_result(Closed(0))

    async def next(self) -> bytes | Closed:
        assert self._heard is not None
        heard = await self._heard
        if not isinstance(heard, Closed):
            self._heard = asyncio.get_running_loop().create_future()
        return heard

    def ended(self) -> None:
        self.line = self._heard = None


class LineLink:
    def __init__(self, dialer: LineDialer, line: Line) -> None:
        self._dialer = dialer
        self._line = line

    async def send(self, message: bytes) -> None:
        self._line.up.append(message)

    async def receive(self) -> bytes | Closed:
        return await self._dialer.next()

    async def close(self) -> None:
        self._line.ended = True  # unless it is broken, the node notices
        self._dialer.ended()


class LineClient(Client):
    """`off` switches a rule of the device off."""

    def __init__(
        self, user: str, device: str, folder: Path | None, new_id: Callable[[], str], off: str
    ) -> None:
        self.connection = LineDialer()
        super().__init__(
            "http://line",
            user,
            device,
            folder=folder,
            dialer=self.connection,
            jitter=lambda: 0.5,
            new_id=new_id,
        )
        self._off = off
        self._receive = self.device.receive
        self.device.receive = self._receive_without  # type: ignore[method-assign]

    @property
    def busy(self) -> bool:
        """There is something that it waits for."""
        line = self.connection.line
        return bool(line is None or line.down or self.device.waits)

    def _receive_without(self, frame: frames.ServerFrame, now: float) -> Happenings:
        inbox, watch_list = self.device._inbox, self.device._watch_list
        begin, watch = inbox.catching_up.begin, watch_list.begin
        if isinstance(frame, frames.Welcome):
            if self._off == "a welcomed device asks" and self.device.begun:
                inbox.catching_up.begin = lambda: None  # type: ignore[method-assign]
            if self._off == "who writes has read":
                inbox.marks.shown = lambda message: None  # type: ignore[method-assign]
        if self._off == "who watches asks again" and isinstance(frame, frames.Resync):
            watch_list.begin = lambda now: None  # type: ignore[method-assign]
        happened = self._receive(frame, now)
        inbox.catching_up.begin, watch_list.begin = begin, watch  # type: ignore[method-assign]
        if self._off == "what the server does not know is said again" and isinstance(
            frame, frames.Marks
        ):
            inbox.marks._unsaid.clear()
        return happened
