"""One connection to Redis: redis-py makes it, and the calls go past redis-py's streams.

At light load each message asks for routes. Such a call costs a third of what it costs through
redis-py's parser, streams and timeouts (decision 41). Making a connection is rare, and has all that
takes care: addresses, TLS, logins. So that stays redis-py's. To take its transport over, this
module uses what is private in redis-py; tests/contract/test_redis_connections.py fails without it.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import hiredis
from redis.exceptions import NoScriptError, ResponseError

Argument = bytes | str | int | float


class Connection(asyncio.Protocol):
    """`redis` is one of redis-py's connections, which is not connected. One call at a time."""

    def __init__(self, redis: Any) -> None:
        self._redis = redis
        self._transport: asyncio.Transport | None = None
        self._answers = hiredis.Reader()
        self._asking: asyncio.Future[Any] | None = None

    @property
    def connected(self) -> bool:
        return self._transport is not None

    async def connect(self) -> None:
        """Raises what redis-py and the loop raise."""
        await self.disconnect()
        await self._redis.connect()
        transport: asyncio.Transport = self._redis._writer.transport
        self._answers = hiredis.Reader()
        transport.set_protocol(self)
        self._transport = transport

    async def ask(self, command: Sequence[Argument]) -> Any:
        """Redis' answer to a command. Raises ResponseError if Redis refuses it: the connection is
        sound then. After anything else, disconnect."""
        assert self._transport is not None
        asking = self._asking = asyncio.get_running_loop().create_future()
        packed = hiredis.pack_command(tuple(command))  # type: ignore[arg-type]  # of any length
        self._transport.write(packed)
        try:
            return await asking
        finally:
            self._asking = None

    async def disconnect(self) -> None:
        """Close it now, whatever is under way."""
        self._lost(ConnectionError("the connection was closed"))
        await self._redis.disconnect(nowait=True)

    # What the loop calls

    def data_received(self, data: bytes) -> None:
        try:
            self._answers.feed(data)
            answer = self._answers.gets()
        except hiredis.ProtocolError as error:
            self._lost(error)
            return
        if answer is False:  # not whole yet; RESP2 has no other False
            return
        asking = self._asking
        if asking is None or asking.done():
            self._lost(ConnectionError("an answer that nobody waits for"))
        elif isinstance(answer, hiredis.ReplyError):
            refused = NoScriptError if str(answer).startswith("NOSCRIPT") else ResponseError
            asking.set_exception(refused(str(answer)))
        else:
            asking.set_result(answer)

    def connection_lost(self, error: Exception | None) -> None:
        self._lost(error or ConnectionError("Redis has closed the connection"))

    def _lost(self, why: Exception) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
        if self._asking is not None and not self._asking.done():
            self._asking.set_exception(why)
            self._asking.exception()  # whoever asks may be cancelled, and never look
