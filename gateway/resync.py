"""Sends `resync`: a device that gets it asks what it has missed, as it does after a connect."""

import asyncio

from gateway.registry import ConnectionRegistry
from schemas.codec import encode_frame
from schemas.frames import Resync

RESYNC = encode_frame(Resync())
_REST_SECONDS = 10.0
"""Between two times that all devices ask: it is much work for the workers."""
_TOGETHER = 200
"""Devices in one turn of the loop."""


class Resyncer:
    """Sends `resync` to all devices of the node; run it as long as the node lives."""

    def __init__(self, registry: ConnectionRegistry) -> None:
        self._registry = registry
        self._requested = asyncio.Event()

    def request(self) -> None:
        """Something was not delivered, and nobody knows to whom."""
        self._requested.set()

    async def run(self) -> None:
        """Until cancelled. A request soon after another waits for its time."""
        while True:
            await self._requested.wait()
            self._requested.clear()
            for connections in self._registry.slices(_TOGETHER):
                for connection in connections:
                    connection.push(RESYNC)
                await asyncio.sleep(0)
            await asyncio.sleep(_REST_SECONDS)
