"""An endpoint of somebody else's that is called over HTTP."""

import ipaddress
import socket
from typing import Any, Protocol
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver

_CALL_SECONDS = 15.0


class EndpointFailed(Exception):
    """The endpoint did not take a call; the text says why. Try again later."""


class Endpoint(Protocol):
    """Where calls go."""

    async def call(self, body: bytes, headers: dict[str, str]) -> None:
        """One try; returns when the endpoint has taken it. Raises EndpointFailed."""

    async def close(self) -> None: ...


class MemoryEndpoint:
    """`Endpoint` that takes everything."""

    async def call(self, body: bytes, headers: dict[str, str]) -> None:
        pass

    async def close(self) -> None:
        pass


class HttpEndpoint:
    """`Endpoint` at a URL. `public_only`: it is not called at an address of this machine or of a
    private network, whatever its name resolves to. Redirects are not followed, and what it answers
    is not read. Use it inside a running loop; close it."""

    def __init__(self, url: str, public_only: bool) -> None:
        """Raises ValueError for a URL that cannot be called."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("a URL begins with http:// or https:// and a host")
        if public_only and not _is_public(parts.hostname, unless_name=True):
            raise ValueError(f"{parts.hostname} is a private address")
        self._url = url
        self._public_only = public_only
        self._session: aiohttp.ClientSession | None = None

    async def call(self, body: bytes, headers: dict[str, str]) -> None:
        if self._session is None:
            resolver = _PublicResolver() if self._public_only else None
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(resolver=resolver),
                timeout=aiohttp.ClientTimeout(_CALL_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        try:
            async with self._session.post(
                self._url, data=body, headers=headers, allow_redirects=False
            ) as answer:
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise EndpointFailed(str(error) or type(error).__name__) from None
        if not 200 <= status < 300:
            raise EndpointFailed(f"it answers {status}")

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


class _PublicResolver(AbstractResolver):
    """Resolves names as ever, without addresses that are not public."""

    def __init__(self) -> None:
        self._resolver = DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        public = [one for one in found if _is_public(one["host"])]
        if not public:
            raise OSError(f"{host} has no public address")
        return public

    async def close(self) -> None:
        await self._resolver.close()


def _is_public(host: str, unless_name: bool = False) -> Any:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return unless_name
    return address.is_global and not address.is_multicast
