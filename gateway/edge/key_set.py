"""An issuer's public keys, by JWKS (RFC 7517): read from a file or an address, again and again.

A set that is wrong or cannot be read changes nothing: the last good one stays in force, and health
says so.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import jwt
import msgspec

from connectors.dependency import Dependency
from schemas.codec import UNDECODABLE

_ALGORITHMS = {("OKP", "Ed25519"): "EdDSA", ("RSA", None): "RS256", ("EC", "P-256"): "ES256"}
"""(kty, crv) → the only algorithm that a key of this kind is used with."""
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
MAX_SET_BYTES = 256 * 1024
MAX_KEYS = 100
_ANSWER_SECONDS = 5.0
_SOONEST_SECONDS = 5.0
"""Tokens with unknown key ids make a node look at the set at most so often."""
_LEAST_RSA_BITS = 2048

Keys = Mapping[tuple[str, str | None], jwt.PyJWK]
"""(algorithm, key id) → the key."""
ReadSet = Callable[[], Awaitable[bytes]]
"""The document. Raises OSError."""


class WrongKeySet(ValueError):
    """The document is no JWKS, or has no key that can be used; the text is one line."""


def parse_key_set(document: bytes) -> Keys:
    """The keys of a JWKS that verify tokens; others are left out. Raises WrongKeySet."""
    try:
        entries = msgspec.json.decode(document)["keys"]
        found = {place: key for entry in entries[:MAX_KEYS] for place, key in _key_of(entry)}
    except (*UNDECODABLE, KeyError, TypeError) as error:
        raise WrongKeySet(f"not a JWKS: {error}") from None
    if not found:
        raise WrongKeySet("no key in it is an Ed25519, RSA (2,048 bits or more) or P-256 key")
    return found


def _key_of(entry: object) -> list[tuple[tuple[str, str | None], jwt.PyJWK]]:
    if not isinstance(entry, dict):
        raise TypeError("a key is an object")
    curve = entry.get("crv")
    algorithm = _ALGORITHMS.get((str(entry["kty"]), None if curve is None else str(curve)))
    wanted = algorithm is not None and entry.get("alg", algorithm) == algorithm
    if not wanted or entry.get("use", "sig") != "sig" or "d" in entry:  # "d": a private key
        return []
    try:
        key = jwt.PyJWK(entry, algorithm=algorithm)
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise WrongKeySet(f"key {entry.get('kid')!r}: {error}") from None
    if algorithm == "RS256" and key.key.key_size < _LEAST_RSA_BITS:
        return []
    kid = entry.get("kid")
    return [((str(algorithm), None if kid is None else str(kid)), key)]


def reader_of(source: str) -> ReadSet:
    """How to read the set at a path or an address. Raises ValueError for an address that anybody on
    the way could change."""
    parts = urlsplit(source)
    if parts.scheme not in ("http", "https"):
        return lambda: asyncio.to_thread(Path(source).read_bytes)
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise ValueError("a key set off this machine is read by https only")

    async def read() -> bytes:
        timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as http,
                http.get(source, allow_redirects=False) as answer,
            ):
                if answer.status != 200:
                    raise OSError(f"status {answer.status}")
                body = bytearray()
                async for chunk in answer.content.iter_chunked(64 * 1024):
                    body += chunk
                    if len(body) > MAX_SET_BYTES:
                        raise OSError("the set is larger than 256 KiB")
                return bytes(body)
        except aiohttp.ClientError as error:
            raise OSError(str(error)) from error

    return read


class KeySet:
    """`TokenKeys` (gateway/edge/tokens.py). `load` it once, then `run` it; `seconds` lie between
    two looks."""

    def __init__(self, read: ReadSet, seconds: float, health: Dependency) -> None:
        self._read = read
        self._seconds = seconds
        self._health = health
        self._keys: Keys = {}
        self._unknown = asyncio.Event()
        """A token names a key that the set lacks: the issuer may have a new one."""

    def of(self, token: str) -> Sequence[jwt.PyJWK]:
        header = jwt.get_unverified_header(token)
        algorithm = str(header.get("alg"))
        key = self._keys.get((algorithm, header.get("kid")))
        if key is None:
            if algorithm in _ALGORITHMS.values():
                self._unknown.set()
            return ()
        return (key,)

    async def load(self) -> None:
        """Read the set now. Raises WrongKeySet, OSError."""
        async with asyncio.timeout(2 * _ANSWER_SECONDS):  # a TimeoutError is an OSError
            self._keys = parse_key_set(await self._read())

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(min(_SOONEST_SECONDS, self._seconds))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, self._seconds - _SOONEST_SECONDS)):
                    await self._unknown.wait()
            self._unknown.clear()
            await self.reload()

    async def reload(self) -> None:
        """Read the set again, or keep the last good one."""
        try:
            await self.load()
        except (WrongKeySet, OSError) as error:
            self._health.failed(str(error) or type(error).__name__)
        else:
            self._health.succeeded()
