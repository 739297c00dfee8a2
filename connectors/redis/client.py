"""One Redis server, and one error for all that can go wrong with it."""

import asyncio
from importlib.resources import files
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.connection import BlockingConnectionPool
from redis.exceptions import RedisError

_TIMEOUT_SECONDS = 1.0
_CALL_SECONDS = 4.0
"""Of a call as a whole, whatever the client does when a server is killed between two of its steps."""


class RedisUnavailable(Exception):
    """Redis does not answer; try again."""


class RedisClient:
    """A small pool of connections that gives up soon. Close it."""

    def __init__(self, url: str) -> None:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=16,
            timeout=_TIMEOUT_SECONDS,
            socket_timeout=_TIMEOUT_SECONDS,
            socket_connect_timeout=_TIMEOUT_SECONDS,
            retry=None,
        )
        self.redis = Redis.from_pool(pool)

    async def close(self) -> None:
        await self.redis.aclose()

    def script(self, name: str) -> Any:
        """The script of this folder, to be called with `keys` and `args`."""
        return self.redis.register_script((files("connectors.redis") / f"{name}.lua").read_text())

    @staticmethod
    async def call(command: Any) -> Any:
        """Await a command. Raises RedisUnavailable."""
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                return await command
        except (RedisError, OSError, TimeoutError) as error:
            raise RedisUnavailable(f"Redis: {error}") from None
