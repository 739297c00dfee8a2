"""Asking a part how it is."""

import asyncio
from typing import Any

_TIMEOUT = 2.0


async def look(parts: dict[str, dict[str, Any]]) -> None:
    """One look at all parts of a home's state: what runs and does not answer becomes
    "unhealthy"."""
    healthy = await asyncio.gather(*(is_healthy(tuple(part["check"])) for part in parts.values()))
    for part, well in zip(parts.values(), healthy, strict=True):
        if part["state"] == "running" and not well:
            part["state"] = "unhealthy"


async def is_healthy(check: tuple[str, int, str]) -> bool:
    """One look at a part: a TCP connect, a Redis PING, or an HTTP GET answered with 200."""
    kind, port, path = check
    question = {
        "tcp": b"",
        "redis": b"PING\r\n",
        "http": f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode(),
    }[kind]
    expected = {"tcp": b"", "redis": b"+PONG", "http": b"HTTP/1.1 200"}[kind]
    try:
        async with asyncio.timeout(_TIMEOUT):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(question)
                return not expected or (await reader.readexactly(len(expected))) == expected
            finally:
                writer.close()
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return False
