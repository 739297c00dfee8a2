"""One ClickHouse server. All that can go wrong with it is ArchiveUnavailable or ArchiveRefused."""

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

import aiohttp
import clickhouse_connect
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.exceptions import Error, OperationalError

from connectors.clickhouse.ports import ArchiveRefused, ArchiveUnavailable
from connectors.dependency import Dependency
from connectors.tls import client_tls

_CONNECT_SECONDS = 2.0
_AT_ONCE_SECONDS = 0.5

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
"""Error codes of the server that mean: try again later."""

_Result = TypeVar("_Result")


class Address(NamedTuple):
    """The address of a ClickHouse HTTP interface, with the user to log in as. `authority` is the
    PEM file of who signed its certificate; those that the machine trusts if empty."""

    host: str
    port: int
    user: str
    password: str
    secure: bool
    authority: str = ""

    @classmethod
    def parse(cls, url: str) -> "Address":
        """http[s]://user:password@host:port[?ca=FILE]. Raises ValueError, whose text has no
        password in it."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(
                "not an address like http://user:password@host:8123: "
                f"{parts.scheme}://{parts.hostname or ''}"
            )
        secure = parts.scheme == "https"
        user, password = unquote(parts.username or "default"), unquote(parts.password or "")
        options = parse_qs(parts.query)
        authority = options.pop("ca", [""])[0] if secure else ""
        if options:
            raise ValueError(f"unknown in {parts.scheme}://{parts.hostname}: {', '.join(options)}")
        client_tls(authority)  # said at the start, not when it is first asked
        port = parts.port or (8443 if secure else 8123)
        return cls(parts.hostname, port, user, password, secure, authority)

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
            **({"ca_cert": self.authority} if self.authority else {}),
            "connect_timeout": _CONNECT_SECONDS,
            "send_receive_timeout": timeout,
            "query_retries": 0,
            "autogenerate_session_id": False,
            "client_name": "messenger",
        }


def translated(address: Address, error: Exception) -> Exception:
    """Our error for an error of clickhouse_connect."""
    text = f"ClickHouse at {address}: {str(error).strip()[:500] or type(error).__name__}"
    if (
        not isinstance(error, Error)
        or error.code in _PASSING
        or (error.code is None and isinstance(error, OperationalError))
    ):
        return ArchiveUnavailable(text)
    return ArchiveRefused(text)


FAILURES = (Error, OSError, TimeoutError, aiohttp.ClientError, RuntimeError)
"""What clickhouse_connect raises. RuntimeError is uvloop's, for a connection that is closed."""


class ClickHouseClient:
    """Connects when it is first asked. `timeout` is the longest in seconds that one answer may
    take. Close it.

    A connection that has been idle may be dead without our knowledge. A question that fails at once
    is asked again: all our questions and inserts may be repeated.
    """

    def __init__(
        self, url: str, timeout: float, dependency: Dependency | None = None, name: str = ""
    ) -> None:
        self.address = Address.parse(url)
        self._timeout = timeout
        self._dependency = dependency or Dependency("clickhouse")
        self._name = name
        self._client: AsyncClient | None = None
        self._connecting = asyncio.Lock()

    async def call(self, ask: Callable[[AsyncClient], Awaitable[_Result]]) -> _Result:
        """Await a question to the client. Raises ArchiveUnavailable, ArchiveRefused."""
        clock = asyncio.get_running_loop().time
        began, again = clock(), True
        while True:
            try:
                async with asyncio.timeout(self._timeout):
                    answer = await ask(await self._connected())
            except FAILURES as error:
                _release(error)
                if again and _was_cut(error) and clock() - began < _AT_ONCE_SECONDS:
                    again = False
                    continue
                raise self._reported(error) from None
            self._dependency.succeeded(self._name)
            return answer

    def _reported(self, error: Exception) -> Exception:
        meant = translated(self.address, error)
        if isinstance(meant, ArchiveUnavailable):
            self._dependency.failed(str(meant), self._name)
        return meant

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


def _was_cut(error: Exception) -> bool:
    """Whether a connection ended, other than by an answer or by silence."""
    if isinstance(error, TimeoutError):
        return False
    return not isinstance(error, Error) or (
        isinstance(error, OperationalError) and error.code is None
    )


def _release(error: BaseException | None) -> None:
    """Empty the frames that an error came through. They refer to one another, and to the block that
    could not be inserted."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__
