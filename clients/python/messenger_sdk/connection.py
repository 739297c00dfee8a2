"""Keeps a device connected, and moves its frames: the shell around device.py, on asyncio.

One task reads: it dials, and gives the device what the link brings. One task writes: it saves what
the device changed, and then sends what is due. So nothing leaves before what it rests on is saved.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from messenger_sdk.device import Device, Happenings
from messenger_sdk.dialer import Closed, Dialer, Link
from messenger_sdk.errors import MessengerError
from messenger_sdk.events import StateChanged
from messenger_sdk.reconnecting import Attempt, Reconnecting
from messenger_sdk.storage import Storage
from schemas import frames
from schemas.codec import Undecodable, decode_server_frames, encode_frame, join_frames

log = logging.getLogger(__name__)

_DIAL_SECONDS = 20.0
"""A gateway to which many devices come at once lets a connection wait some seconds."""
_WELCOME_SECONDS = 10.0
_MESSAGE_BYTES = frames.MAX_SOCKET_MESSAGE_BYTES // 2

Hello = Callable[[bool], Awaitable[frames.Hello]]


class Connection:
    """`hello` makes the first frame of a session; its argument says whether to ask the node to keep
    the device. `emit` gets what happens, in order."""

    def __init__(
        self,
        device: Device,
        storage: Storage,
        dialer: Dialer,
        reconnecting: Reconnecting,
        hello: Hello,
        emit: Callable[[Happenings], None],
    ) -> None:
        self._device = device
        self._storage = storage
        self._dialer = dialer
        self._reconnecting = reconnecting
        self._hello = hello
        self._emit = emit
        self._loop = asyncio.get_running_loop()
        self._link: Link | None = None
        """Of a session that stands."""
        self._work = asyncio.Event()
        self._saving: asyncio.Future[None] | None = None
        """It is not cancelled: what it saves is nowhere else."""
        self._saved: list[asyncio.Future[None]] = []
        self._timer: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Stay connected. Raises ConnectionRefused when the server does not want this device back,
        and FolderUnreadable or FolderOfAnother when the storage cannot be used."""
        tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._write())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._device.disconnected()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, *filter(None, [self._saving]), return_exceptions=True)
            if self._timer is not None:
                self._timer.cancel()

    def wake(self) -> None:
        """The device may have something to save or to send."""
        self._work.set()

    def saved(self) -> "asyncio.Future[None]":
        """Done when everything that the device has changed until now is saved."""
        saved: asyncio.Future[None] = self._loop.create_future()
        self._saved.append(saved)
        self.wake()
        return saved

    def stop(self, error: MessengerError) -> None:
        """Nothing is saved any more."""
        for waiter in self._saved:
            if not waiter.done():
                waiter.set_exception(error)
                waiter.exception()  # also if nobody looks at it
        self._saved.clear()

    async def _read(self) -> None:
        while True:
            self._emit([StateChanged("connecting", 0)])
            closed, lasted = await self._session(self._reconnecting.next())
            wait = self._reconnecting.ended(closed, lasted)
            if wait:
                self._emit([StateChanged("waiting", closed.code)])
                await asyncio.sleep(wait)

    async def _session(self, attempt: Attempt) -> tuple[Closed, float | None]:
        """One connection until it ends: how, and how many seconds after the welcome."""
        began: float | None = None
        closed = Closed(0)
        try:
            hello = await self._hello(attempt.stay)
            async with asyncio.timeout(_DIAL_SECONDS):
                link = await self._dialer.dial(attempt.url.rstrip("/") + "/v1/socket")
            try:
                async with asyncio.timeout(_WELCOME_SECONDS) as patience:
                    await link.send(encode_frame(hello))
                    while not isinstance(message := await link.receive(), Closed):
                        if self._receive(message, link):
                            patience.reschedule(None)
                            began = self._loop.time()
                closed = message
            finally:
                self._link = None
                self._device.disconnected()
                await link.close()
        except (OSError, Undecodable) as error:  # a TimeoutError is an OSError
            log.debug("connection to %s: %s", attempt.url, error)
        return closed, None if began is None else self._loop.time() - began

    def _receive(self, message: bytes, link: Link) -> bool:
        """A message has come. Whether it brought the welcome."""
        welcomed = False
        for frame in decode_server_frames(message):
            happened = self._device.receive(frame, self._loop.time())
            self._storage.note(self._device.notes())
            if type(frame) is frames.Welcome:
                self._link, welcomed = link, True
                happened = [StateChanged("online", 0)]
            self._emit(happened)
        self.wake()
        return welcomed

    async def _write(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            link, saved = self._link, self._saved
            self._saved = []
            due = self._device.due(self._loop.time())
            if changes := self._device.changes():
                self._saving = asyncio.ensure_future(self._storage.save(changes))
                await asyncio.shield(self._saving)
            for waiter in saved:
                if not waiter.done():
                    waiter.set_result(None)
            # of an older link they are lost, as on a wire: the device sends or asks again
            if due and link is not None and link is self._link:
                await self._send(link, [encode_frame(frame) for frame in due])
            self._set_timer()

    async def _send(self, link: Link, encoded: list[bytes]) -> None:
        """In one message, or a few, if it is much."""
        size, start = 0, 0
        try:
            for index, frame in enumerate(encoded):
                if size + len(frame) > _MESSAGE_BYTES and index > start:
                    await link.send(join_frames(encoded[start:index]))
                    size, start = 0, index
                size += len(frame) + 1
            await link.send(join_frames(encoded[start:]))
        except ConnectionError as error:
            log.debug("write: %s", error)  # the reader sees the end of the link, too

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (at := self._device.wake_at()) is not None:
            self._timer = self._loop.call_at(max(at, self._loop.time() + 0.001), self.wake)
