"""What is wrong with a node now, for its health pages and the log."""

import asyncio
from collections.abc import Callable

from connectors.dependency import Dependencies
from connectors.kafka.ports import Producer

_LOOK_SECONDS = 0.5
_STILL_SECONDS = 4.0
"""Without an acknowledgement, while records wait for one. With it, health says so within 5 s."""
_CLIENT = "acknowledgements"


class NodeHealth:
    """`slot` gives the node's slot, None while it has none; run `watch` as long as the node
    lives."""

    def __init__(
        self, dependencies: Dependencies, producer: Producer, slot: Callable[[], int | None]
    ) -> None:
        self._dependencies = dependencies
        self._kafka = dependencies.get("kafka", "messages wait")
        self._producer = producer
        self._slot = slot

    def problems(self) -> list[str]:
        """One line each; none if all is well."""
        problems = self._dependencies.problems()
        if self._slot() is None:
            problems.append("this node has no gateway slot")
        return problems

    async def watch(self) -> None:
        """Notice that Kafka acknowledges nothing although records wait, until cancelled. (A client
        of Kafka that stands still says nothing of itself.)"""
        clock = asyncio.get_running_loop().time
        before, moved_at = 0, clock()
        while True:
            waiting = len(self._producer)
            if waiting == 0 or waiting < before:
                moved_at = clock()
                self._kafka.succeeded(_CLIENT)
            elif clock() - moved_at >= _STILL_SECONDS:
                self._kafka.failed(f"{waiting} records are not acknowledged", _CLIENT)
            before = waiting
            await asyncio.sleep(_LOOK_SECONDS)
