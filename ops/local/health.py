"""Asking a part how it is."""

import asyncio
import json
import ssl
import struct
from typing import Any

_TIMEOUT_SECONDS = 2.0
_MAX_ANSWER = 64 * 1024
_API_VERSIONS = struct.pack(">ihhih", 10, 18, 0, 1, -1)
"""Kafka's first question: 10 bytes, key 18, version 0, correlation 1, no client's name."""


async def look(parts: dict[str, dict[str, Any]]) -> None:
    """Ask all parts of a home's state. One that runs and has a problem becomes "unhealthy"; the
    problem is put beside its state."""
    problems = await asyncio.gather(*(problem_of(tuple(part["check"])) for part in parts.values()))
    for part, problem in zip(parts.values(), problems, strict=True):
        part["problem"] = problem or ""
        if part["state"] == "running" and problem:
            part["state"] = "unhealthy"


async def problem_of(check: tuple[str, int, str]) -> str | None:
    """What is wrong with a part, in one line, or None.

    A part answers when it really works: a listening port alone says nothing of a process that is
    stopped. Of a part of ours, the problems are those that its health page lists.
    """
    kind, port, path = check
    ask, tls = _KINDS[kind]
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=_any_certificate() if tls else None
            )
            try:
                return await ask(reader, writer, path)
            finally:
                writer.transport.abort()  # TLS would wait for the other end to say goodbye
    except TimeoutError:
        return f"it does not answer within {_TIMEOUT_SECONDS:g} s"
    except (OSError, asyncio.IncompleteReadError) as error:
        return f"it does not answer: {error}"


def _any_certificate() -> ssl.SSLContext:
    """No secret is told: it need not be sure who answers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def _ask_kafka(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str
) -> str | None:
    writer.write(_API_VERSIONS)
    await reader.readexactly(8)
    return None


async def _ask_redis(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str
) -> str | None:
    writer.write(b"PING\r\n")
    answer = (await reader.readline()).decode(errors="replace").strip()
    return None if answer == "+PONG" else f"it answers {answer}"


async def _ask_http(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str
) -> str | None:
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    writer.write(request.encode())
    status = (await reader.readline()).decode(errors="replace").split(" ", 2)
    if status[1:2] == ["200"]:
        return None
    body = (await reader.read(_MAX_ANSWER)).partition(b"\r\n\r\n")[2]
    try:
        return "; ".join(json.loads(body)["problems"])
    except (ValueError, KeyError, TypeError):
        return f"it answers {' '.join(status[1:]).strip()}"


_KINDS = {
    "kafka": (_ask_kafka, False),
    "redis": (_ask_redis, False),
    "http": (_ask_http, False),
    "kafkas": (_ask_kafka, True),
    "rediss": (_ask_redis, True),
    "https": (_ask_http, True),
}
"""How each is asked, and whether by TLS."""
