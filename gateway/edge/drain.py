"""Draining: a node that is to end sends its connections away over some seconds, so that its devices
do not come to the other nodes all at once."""

import asyncio
from collections.abc import Callable

from gateway.registry import ConnectionRegistry, RegisteredConnection

_TURN_SECONDS = 0.05
_TOGETHER = 100
"""Connections that leave in one turn of the loop."""


async def drain(
    registry: ConnectionRegistry,
    seconds: float,
    shuffle: Callable[[list[RegisteredConnection]], None],
) -> None:
    """Let every connection leave, evenly over `seconds`, in random order. Returns when the last has
    ended."""
    while leaving := list(registry):
        shuffle(leaving)
        turns = max(1, int(seconds / _TURN_SECONDS))
        each = -(-len(leaving) // turns)
        goodbyes: list[asyncio.Task[None]] = []
        for start in range(0, len(leaving), each):
            turn = leaving[start : start + each]
            for few in range(0, len(turn), _TOGETHER):
                goodbyes += (
                    asyncio.create_task(connection.leave())
                    for connection in turn[few : few + _TOGETHER]
                )
                await asyncio.sleep(0)
            await asyncio.sleep(_TURN_SECONDS)
        await asyncio.gather(*goodbyes)
        seconds = 0.0  # for those that came meanwhile
