"""Links over real WebSockets, by aiohttp."""

import asyncio
import contextlib
import ssl

import aiohttp

from messenger_sdk.dialer import Closed

_HEARTBEAT_SECONDS = 25.0
"""How often a link pings. A dead network is noticed after half as long again, however quiet the
conversations are."""
_GOODBYE_SECONDS = 1.0
"""How long a link waits for the answer to its close frame."""


class AiohttpDialer:
    """A Dialer. `tls` says which certificates to trust; without it, those that the machine does."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls

    async def dial(self, url: str) -> "AiohttpLink":
        http = aiohttp.ClientSession()
        try:
            socket = await http.ws_connect(
                url,
                ssl=self._tls or True,
                max_msg_size=0,
                heartbeat=_HEARTBEAT_SECONDS,
                timeout=aiohttp.ClientWSTimeout(ws_close=_GOODBYE_SECONDS),
            )
        except BaseException as error:
            await http.close()
            if isinstance(error, aiohttp.ClientError | ValueError):
                raise ConnectionError(f"{url}: {error}") from error
            raise
        return AiohttpLink(http, socket)


class AiohttpLink:
    """A Link."""

    def __init__(
        self, http: aiohttp.ClientSession, socket: aiohttp.ClientWebSocketResponse
    ) -> None:
        self._http = http
        self._socket = socket
        self._ended = False
        self._writing: asyncio.Task[None] | None = None

    async def send(self, message: bytes) -> None:
        if self._ended:
            raise ConnectionError("the link has ended")
        writing = self._writing = asyncio.ensure_future(self._socket.send_str(message.decode()))
        try:
            await asyncio.wait([writing])  # a cancellation that comes out of here is the caller's
        finally:
            writing.cancel()
            self._writing = None
        if writing.cancelled():
            raise ConnectionError("the link has ended")
        if isinstance(error := writing.exception(), aiohttp.ClientError):
            raise ConnectionError(str(error)) from error
        writing.result()

    @property
    def waits_to_write(self) -> bool:
        """A message is being written: the peer may read no more."""
        return self._writing is not None

    async def receive(self) -> bytes | Closed:
        message = await self._socket.receive()
        if message.type is aiohttp.WSMsgType.TEXT:
            return str(message.data).encode()
        self._end()
        if message.type is aiohttp.WSMsgType.CLOSE:
            return Closed(int(message.data or 0), str(message.extra or ""))
        return Closed(self._socket.close_code or 0)

    async def close(self) -> None:
        self._end()
        with contextlib.suppress(TimeoutError):  # a peer that reads no more gets no goodbye
            async with asyncio.timeout(2 * _GOODBYE_SECONDS):
                await self._socket.close()
        await self._http.close()

    def _end(self) -> None:
        """Also ends a write: to a peer that reads no more, it could take minutes to fail."""
        self._ended = True
        if self._writing is not None:
            self._writing.cancel()
