"""How a question reaches a worker: the port, and HTTP behind it."""

from collections.abc import Mapping
from typing import Protocol

import aiohttp

MAX_REQUESTS = 64
"""Requests under way at one worker; more wait. A worker that does not answer keeps none of the
others waiting."""
_CONNECT_SECONDS = 2.0


class WorkersUnavailable(Exception):
    """No worker answers for the partition now; try again."""


class WorkerTransport(Protocol):
    """Asks the worker API (schemas/worker_api.py) of one worker. It has no time limit of its own:
    the caller cancels."""

    async def request(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        params: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """(HTTP status, body). `url` is http://host:port/stage/endpoint/. Raises
        WorkersUnavailable, and nothing else."""

    async def close(self) -> None: ...


class HttpWorkerTransport:
    """`WorkerTransport` over HTTP. Use it inside a running loop; close it."""

    def __init__(self) -> None:
        self._http = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
            connector=aiohttp.TCPConnector(limit=0, limit_per_host=MAX_REQUESTS),
        )

    async def request(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        params: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        try:
            async with self._http.request(method, url, data=body, params=params) as response:
                return response.status, await response.read()
        except (aiohttp.ClientError, OSError, RuntimeError, ValueError) as error:
            # RuntimeError: uvloop's, for a connection that was reset while it was idle;
            # ValueError: an address in Redis that is none
            raise WorkersUnavailable(f"{url}: {error!r}") from None

    async def close(self) -> None:
        await self._http.close()
