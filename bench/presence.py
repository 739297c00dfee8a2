"""Presence: from a device's `welcome`, or its close, until a watcher gets the change."""

import asyncio
import random
import time
from typing import Any

import uvloop

from bench.curve import percentiles
from bench.system import System
from gateway.edge.tokens import issue
from messenger_sdk import Client, PresenceChanged
from schemas.ids import user_id

_CHANGES_PER_SECOND = 5.0
"""A node publishes a single change at once, and further ones within 0.1 s together."""


def measure(stack: System, times: int) -> dict[str, Any]:
    """A device comes and goes `times` times at random moments, on another node than its
    watcher."""
    return uvloop.run(_measure(stack, times))


async def _measure(stack: System, times: int) -> dict[str, Any]:
    host, port = stack.gateway
    watcher = _client(stack, f"http://{host}:{port}", "presence-watcher")
    told: asyncio.Queue[tuple[float, bool]] = asyncio.Queue()
    chance, online, offline = random.Random(11), [], []
    async with watcher:
        await watcher.online()
        await watcher.send("presence-watched", "hello")
        watcher.watch(["presence-watched"])
        listening = asyncio.create_task(_listen(watcher, told))
        await asyncio.wait_for(told.get(), 10)
        for _ in range(times):
            await asyncio.sleep(chance.expovariate(_CHANGES_PER_SECOND))
            client = _client(stack, f"http://{host}:{port + 1}", "presence-watched")
            async with client:
                await client.online()
                began = time.monotonic()
                online.append(await _until(told, True) - began)
                await asyncio.sleep(chance.expovariate(_CHANGES_PER_SECOND))
                began = time.monotonic()
            offline.append(await _until(told, False) - began)
        listening.cancel()
    return {"times": times, "online_ms": percentiles(online), "offline_ms": percentiles(offline)}


def _client(stack: System, url: str, user: str) -> Client:
    return Client(url, issue(user_id(user), stack.secret, time.time()), "bench")


async def _listen(client: Client, told: "asyncio.Queue[tuple[float, bool]]") -> None:
    async for event in client:
        if isinstance(event, PresenceChanged):
            told.put_nowait((time.monotonic(), event.online))


async def _until(told: "asyncio.Queue[tuple[float, bool]]", online: bool) -> float:
    """When the watcher got the change. A change before the `welcome` counts as immediate."""
    async with asyncio.timeout(20):
        while True:
            at, is_online = await told.get()
            if is_online == online:
                return at
