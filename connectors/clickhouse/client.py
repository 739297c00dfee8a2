"""One ClickHouse server, and two errors for all that can go wrong with it."""

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeVar
from urllib.parse import unquote, urlsplit

import aiohttp
import clickhouse_connect
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.exceptions import Error, OperationalError

_CONNECT_SECONDS = 2.0

logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)  # what it logs it raises as well

_PASSING = {
    159,  # TIMEOUT_EXCEEDED
    160,  # TOO_SLOW
    202,  # TOO_MANY_SIMULTANEOUS_QUERIES
    203,  # NO_FREE_CONNECTION
    209,  # SOCKET_TIMEOUT
    210,  # NETWORK_ERROR
    236,  # ABORTED
    241,  # MEMORY_LIMIT_EXCEEDED
    242,  # TABLE_IS_READ_ONLY
    243,  # NOT_ENOUGH_SPACE
    252,  # TOO_MANY_PARTS
    394,  # QUERY_WAS_CANCELLED
    439,  # CANNOT_SCHEDULE_TASK
    473,  # DEADLOCK_AVOIDED
    745,  # SERVER_OVERLOADED
    999,  # KEEPER_EXCEPTION
}
"""Server error codes that pass by themselves."""

_Result = TypeVar("_Result")


class ArchiveUnavailable(Exception):
    """ClickHouse does not answer, or is overloaded; try again."""


class ArchiveRefused(Exception):
    """ClickHouse says no (password, rights, tables): an operator must act; the text is the
    server's."""


class Address(NamedTuple):
    """Of a ClickHouse HTTP interface, with the user to log in as."""

    host: str
    port: int
    user: str
    password: str
    secure: bool

    @classmethod
    def parse(cls, url: str) -> "Address":
        """http[s]://user:password@host:port. Raises ValueError."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(
                f"not an address like http://user:password@host:8123: {parts.scheme}://{parts.hostname or ''}"
            )
        secure = parts.scheme == "https"
        user, password = unquote(parts.username or "default"), unquote(parts.password or "")
        return cls(parts.hostname, parts.port or (8443 if secure else 8123), user, password, secure)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def options(self, timeout: float) -> dict[str, Any]:
        """For clickhouse_connect."""
        return {
            "host": self.host,
            "port": self.port,
            "username": self.user,
            "password": self.password,
            "secure": self.secure,
            "connect_timeout": _CONNECT_SECONDS,
            "send_receive_timeout": timeout,
            "query_retries": 0,
            "autogenerate_session_id": False,
            "client_name": "messenger",
        }


def translated(address: Address, error: Exception) -> Exception:
    """What an error of the client means to us."""
    text = f"ClickHouse at {address}: {str(error).strip()[:500] or type(error).__name__}"
    if (
        not isinstance(error, Error)
        or error.code in _PASSING
        or (error.code is None and isinstance(error, OperationalError))
    ):
        return ArchiveUnavailable(text)
    return ArchiveRefused(text)


FAILURES = (Error, OSError, TimeoutError, aiohttp.ClientError)
"""What clickhouse_connect lets out."""


class ClickHouseClient:
    """Connects when it is first asked. `timeout` is the longest in seconds that one answer may
    take. Close it."""

    def __init__(self, url: str, timeout: float) -> None:
        self.address = Address.parse(url)
        self._timeout = timeout
        self._client: AsyncClient | None = None
        self._connecting = asyncio.Lock()

    async def call(self, ask: Callable[[AsyncClient], Awaitable[_Result]]) -> _Result:
        """Await a question to the client. Raises ArchiveUnavailable, ArchiveRefused."""
        try:
            async with asyncio.timeout(self._timeout):
                return await ask(await self._connected())
        except FAILURES as error:
            _let_go(error)
            raise translated(self.address, error) from None

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _connected(self) -> AsyncClient:
        async with self._connecting:
            if self._client is None:
                self._client = await clickhouse_connect.get_async_client(
                    **self.address.options(self._timeout)
                )
            return self._client


def _let_go(error: BaseException | None) -> None:
    """Empty the frames that an error came through: they hold one another, and the block that could
    not be inserted."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__
