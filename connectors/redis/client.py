"""One Redis server: a bounded pool of connections, and one error for all that can go wrong."""

import asyncio
import hashlib
from collections.abc import Awaitable, Sequence
from importlib.resources import files
from typing import Any, Protocol

from redis.asyncio.connection import Connection as TcpConnection
from redis.asyncio.connection import parse_url
from redis.exceptions import NoScriptError, RedisError, ResponseError

from connectors.dependency import Dependency
from connectors.redis.connection import Argument, Connection

CALL_SECONDS = 1.0
"""The longest that a call takes: waiting for a connection, connecting, and the answer."""
MAX_CONNECTIONS = 16
MAX_CALLS = 10_000
"""Calls at once, most of which wait for a connection; one more is refused."""


class RedisUnavailable(Exception):
    """Redis does not answer; try again."""


class Script(Protocol):
    """A Lua script, to be called with its keys and arguments."""

    def __call__(
        self, keys: Sequence[Argument] = (), args: Sequence[Argument] = ()
    ) -> Awaitable[Any]:
        """What the script returns. Raises RedisUnavailable."""


class RedisClient:
    """Runs commands and scripts, each on a connection of its own. Use it inside a loop; close it.

    `url` is redis[s]://[user:password@]host:port/db. Raises ValueError if it is not.

    An idle connection may be dead before the client knows: the server began anew, or a router
    forgot it. The client then repeats the call once, on a new connection, if the command was not
    sent or is `repeatable`. It closes a connection whose answer it has not read, because the next
    call would take that answer for its own. (redis-py's own pool and retries cost 12 to 43 % more
    CPU a call, and do not catch what uvloop raises.)
    """

    def __init__(self, url: str, dependency: Dependency | None = None, name: str = "") -> None:
        try:
            options: dict[str, Any] = dict(parse_url(url))
            self._connection_class = options.pop("connection_class", TcpConnection)
            self._options = {
                **options,
                "protocol": 2,
                "driver_info": None,
                "socket_timeout": None,  # one timeout around the whole call instead
                "socket_connect_timeout": CALL_SECONDS,
            }
            self._connection()  # refuses a wrong option here, and not at the first call
        except (ValueError, TypeError, RedisError) as error:
            raise ValueError(f"not an address like redis://host:6379/0: {error}") from None
        self._dependency = dependency or Dependency("redis")
        self._name = name
        self._idle: list[Connection] = [self._connection() for _ in range(MAX_CONNECTIONS)]
        """Each connects when it is first used. The last one is used next: few are open."""
        self._room = asyncio.Semaphore(MAX_CONNECTIONS)
        self._calls = 0

    async def command(self, *command: Argument, repeatable: bool = True) -> Any:
        """Redis' answer to a command. Raises RedisUnavailable.

        Pass repeatable=False if a second run answers differently from the first, for example a SET
        NX.
        """
        return await self._call(command, repeatable)

    def script(self, name: str, repeatable: bool = True) -> Script:
        """The script `name`.lua of this folder."""
        source = (files("connectors.redis") / f"{name}.lua").read_text()
        sha = hashlib.sha1(source.encode()).hexdigest()

        def run(keys: Sequence[Argument] = (), args: Sequence[Argument] = ()) -> Awaitable[Any]:
            asked = (len(keys), *keys, *args)
            return self._call(("EVALSHA", sha, *asked), repeatable, ("EVAL", source, *asked))

        return run

    async def close(self) -> None:
        """Close the connections that are idle."""
        for connection in self._idle:
            await connection.disconnect()

    async def _call(
        self,
        command: Sequence[Argument],
        repeatable: bool,
        unless_known: Sequence[Argument] = (),
    ) -> Any:
        """`unless_known` is sent if Redis does not know the script, as after a restart."""
        if self._calls >= MAX_CALLS:
            raise RedisUnavailable(f"Redis: {MAX_CALLS} calls are under way already")
        self._calls += 1
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await self._room.acquire()
                connection = self._idle.pop()
                try:
                    answer = await self._ask(connection, command, repeatable)
                except NoScriptError:
                    answer = await self._ask(connection, unless_known, repeatable)
                finally:
                    self._idle.append(connection)
                    self._room.release()
        except TimeoutError:
            raise self._failed(f"no answer within {CALL_SECONDS:g} s") from None
        except Exception as error:  # redis-py lets out what the event loop raises, of any kind
            raise self._failed(str(error) or type(error).__name__) from None
        finally:
            self._calls -= 1
        self._dependency.succeeded(self._name)
        return answer

    def _failed(self, why: str) -> RedisUnavailable:
        self._dependency.failed(why, self._name)
        return RedisUnavailable(f"Redis: {why}")

    async def _ask(
        self, connection: Connection, command: Sequence[Argument], repeatable: bool
    ) -> Any:
        used, sent = connection.connected, False
        try:
            if not used:
                await connection.connect()
            sent = True
            return await connection.ask(command)
        except ResponseError:  # Redis says no; the connection is sound
            raise
        except Exception:
            await connection.disconnect()
            await self.close()  # the idle ones lead to the same server
            if not used or (sent and not repeatable):
                raise
            return await self._ask(connection, command, repeatable)
        except asyncio.CancelledError:
            await connection.disconnect()
            await self.close()
            raise

    def _connection(self) -> Connection:
        return Connection(self._connection_class(**self._options))
