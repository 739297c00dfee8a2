"""Leaving without anybody noticing: sessions are sent away one by one, so that the other nodes are
not stormed."""

import asyncio
from collections.abc import Callable

from gateway.registry import ConnectionRegistry

_TURN_SECONDS = 0.05


async def drain(
    hub: ConnectionRegistry, seconds: float, shuffle: Callable[[list[object]], None]
) -> None:
    """Send every session away, evenly over `seconds`, in random order; returns when the last has
    gone.

    Each is no longer listened to once it is its turn, gets the answers it waits for, and is closed
    with DRAINING.
    """
    while leaving := list(hub):
        shuffle(leaving)  # type: ignore[arg-type]
        turns = max(1, int(seconds / _TURN_SECONDS))
        each = -(-len(leaving) // turns)
        goodbyes: list[asyncio.Task[None]] = []
        for start in range(0, len(leaving), each):
            goodbyes += (
                asyncio.create_task(connection.leave())
                for connection in leaving[start : start + each]
            )
            await asyncio.sleep(_TURN_SECONDS)
        await asyncio.gather(*goodbyes)
        seconds = 0.0  # whoever came meanwhile
