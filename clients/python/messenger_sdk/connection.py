"""A device's way to the server: one socket at a time, and another one, with backoff, whenever it
has ended.

connecting ─→ online ─→ waiting ─→ connecting …
"""

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterator, Sequence

import aiohttp

from messenger_sdk.backoff import delay
from messenger_sdk.errors import ConnectionRefused
from schemas import frames
from schemas.codec import Undecodable, decode_server_frames, encode_frame, join_frames
from schemas.codes import Close

log = logging.getLogger(__name__)

_WELCOME_SECONDS = 10.0
_LASTING_SECONDS = 5.0
"""A session that ends sooner counts as another failed attempt, or a node that welcomes and drops
would be stormed."""
_HEARTBEAT_SECONDS = 25.0
"""Pings of our own: a dead network is noticed after half as long again, however quiet the
conversations are."""


class Connection:
    """`url` is the gateway's; of several, each attempt takes the next. `clock` in seconds, `jitter`
    from [0, 1).

    It calls, in order, `on_state` (state, close code), `on_welcome` just before it is online, and
    `on_frame` with each other frame.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        token: str,
        device: str,
        clock: Callable[[], float],
        jitter: Callable[[], float],
        on_state: Callable[[str, int], None],
        on_welcome: Callable[[frames.Welcome], None],
        on_frame: Callable[[frames.ServerFrame], None],
    ) -> None:
        self._urls: Iterator[str] = itertools.cycle([url] if isinstance(url, str) else url)
        self._redirected: str | None = None
        self._token = token
        self._device = device
        self._clock = clock
        self._jitter = jitter
        self._on_state = on_state
        self._on_welcome = on_welcome
        self._on_frame = on_frame
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._writing: set[asyncio.Task[None]] = set()

    @property
    def stands(self) -> bool:
        """The device was welcomed, and the socket has not ended."""
        return self._socket is not None and not self._socket.closed

    async def run(self) -> None:
        """Stay connected until the server does not want this device: raises ConnectionRefused, or
        what `on_...` raised."""
        attempt = 0
        async with aiohttp.ClientSession() as http:
            while True:
                self._on_state("connecting", 0)
                began = self._clock()
                code = await self._session(http)
                if self._socket is not None and self._clock() - began >= _LASTING_SECONDS:
                    attempt = 0
                self._socket = None
                if 4500 <= code < 5000:
                    raise ConnectionRefused(code)
                if self._redirected is not None:
                    continue  # at once, and once: there the device says that it stays
                self._on_state("waiting", code)
                await asyncio.sleep(delay(attempt, self._jitter()))
                attempt += 1

    def write(self, encoded: Sequence[bytes]) -> None:
        """Send frames in one WebSocket message. If the connection ends meanwhile they are lost."""
        if self._socket is not None:
            task = asyncio.create_task(self._write(self._socket, encoded))
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)

    def cut(self) -> None:
        """Nothing is written any more."""
        self._socket = None

    async def _session(self, http: aiohttp.ClientSession) -> int:
        """One connection until it ends; the close code, 0 if there was none."""
        try:
            stay, base = self._redirected is not None, self._redirected or next(self._urls)
            self._redirected = None
            url = base.rstrip("/") + "/v1/socket"
            closing = aiohttp.ClientWSTimeout(ws_close=1.0)
            async with http.ws_connect(
                url, max_msg_size=0, heartbeat=_HEARTBEAT_SECONDS, timeout=closing
            ) as socket:
                hello = frames.Hello(1, frames.CURRENT_VERSION, self._token, self._device, stay)
                await socket.send_str(encode_frame(hello).decode())
                patience: float | None = _WELCOME_SECONDS
                while True:
                    message = await socket.receive(patience)
                    if message.type is aiohttp.WSMsgType.CLOSE:
                        if message.data == Close.REDIRECTED.number:
                            self._redirected = str(message.extra or "") or None
                        return int(message.data or 0)
                    if message.type is not aiohttp.WSMsgType.TEXT:
                        return socket.close_code or 0
                    for frame in decode_server_frames(message.data):
                        if type(frame) is frames.Welcome:
                            self._socket, patience = socket, None
                            self._on_welcome(frame)
                            self._on_state("online", 0)
                        else:
                            self._on_frame(frame)
        except (aiohttp.ClientError, OSError, TimeoutError, Undecodable) as error:
            log.debug("connection: %s", error)
            return 0

    @staticmethod
    async def _write(socket: aiohttp.ClientWebSocketResponse, encoded: Sequence[bytes]) -> None:
        try:
            await socket.send_str(join_frames(encoded).decode())
        except (ConnectionError, aiohttp.ClientError) as error:
            log.debug(
                "write: %s", error
            )  # the reader sees the end of the connection; the outbox sends again
