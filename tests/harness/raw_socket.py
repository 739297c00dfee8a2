"""A WebSocket by hand: it can send what no library would, and not read when it does not want to."""

import asyncio
import os
import socket
import struct
from urllib.parse import urlsplit

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
_MASK = os.urandom(4)


class RawSocket:
    """`received` holds the text messages that came, `pongs` what pings were answered with; `code`
    is the close code, 0 if the connection ended without one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.received: list[bytes] = []
        self.pongs: list[bytes] = []
        self.code = 0
        self.closed = asyncio.Event()
        self._reader = reader
        self._writer = writer
        self._news = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    @classmethod
    async def connect(cls, url: str, receive_buffer: int = 0, reads: bool = True) -> "RawSocket":
        """`receive_buffer` bytes are asked of the kernel; with `reads` False nothing is read before
        `read`."""
        to = urlsplit(url)
        plain = socket.socket()
        plain.setblocking(False)
        if receive_buffer:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await asyncio.get_running_loop().sock_connect(plain, (to.hostname, to.port))
        reader, writer = await asyncio.open_connection(sock=plain, limit=4096)
        writer.write(
            f"GET /v1/socket HTTP/1.1\r\nHost: {to.netloc}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        status = await reader.readuntil(b"\r\n\r\n")
        if not status.startswith(b"HTTP/1.1 101"):
            writer.close()
            raise AssertionError(status)
        made = cls(reader, writer)
        if reads:
            made.read()
        return made

    def read(self) -> None:
        """Read from now on."""
        self._reading = asyncio.create_task(self._read())

    async def send(
        self,
        payload: bytes,
        kind: int = TEXT,
        cuts: tuple[int, ...] = (),
        ping_between: bool = False,
    ) -> None:
        """One message, in fragments if there are `cuts`. Does nothing once the connection has
        gone."""
        starts = (0, *cuts)
        ends = (*cuts, len(payload))
        out = bytearray()
        for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
            final = number == len(cuts)
            out += raw_frame(payload[start:end], kind if number == 0 else CONTINUATION, final)
            if ping_between and not final:
                out += raw_frame(b"between", PING)
        await self.send_raw(bytes(out))

    async def send_raw(self, data: bytes) -> None:
        try:
            self._writer.write(data)
            await self._writer.drain()
        except ConnectionError:
            await self.closed.wait()

    async def until(self, part: bytes, timeout: float = 60) -> None:
        """Wait until a message with this in it has come, or the socket has closed."""
        async with asyncio.timeout(timeout):
            seen = 0
            while not self.closed.is_set():
                self._news.clear()
                if any(part in message for message in self.received[seen:]):
                    return
                seen = len(self.received)
                await self._news.wait()

    async def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        self._writer.close()
        await asyncio.gather(self._writer.wait_closed(), return_exceptions=True)

    async def _read(self) -> None:
        try:
            while True:
                first, length = await self._reader.readexactly(2)
                if length == 126:
                    (length,) = struct.unpack("!H", await self._reader.readexactly(2))
                elif length == 127:
                    (length,) = struct.unpack("!Q", await self._reader.readexactly(8))
                payload = await self._reader.readexactly(length)
                kind = first & 0x0F
                if kind == TEXT:
                    self.received.append(payload)
                    self._news.set()
                elif kind == PONG:
                    self.pongs.append(payload)
                elif kind == PING:
                    self._writer.write(raw_frame(payload, PONG))
                elif kind == CLOSE:
                    (self.code,) = (
                        struct.unpack("!H", payload[:2]) if len(payload) >= 2 else (1005,)
                    )
                    self._writer.write(raw_frame(payload[:2], CLOSE))
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writer.close()
            self.closed.set()
            self._news.set()


def raw_frame(payload: bytes, kind: int, final: bool = True) -> bytes:
    """One frame of RFC 6455, masked, as devices send them; without `final` a fragment."""
    first = kind | (0x80 if final else 0)
    if len(payload) < 126:
        head = bytes((first, 0x80 | len(payload)))
    elif len(payload) < 65536:
        head = struct.pack("!BBH", first, 0x80 | 126, len(payload))
    else:
        head = struct.pack("!BBQ", first, 0x80 | 127, len(payload))
    mask = _MASK * (len(payload) // 4 + 1)
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(mask[: len(payload)], "big")
    return head + _MASK + masked.to_bytes(len(payload), "big")
