"""What is wrong with a node now, for its health pages and the log.

Clients of Kafka, Redis and ClickHouse report the outages that they meet. But a client that has
nothing to do meets none, and Kafka's clients wait for minutes without a word. So a node asks each
system every two seconds.
"""

import asyncio
from collections.abc import Awaitable, Callable

from connectors.clickhouse.ports import Archive, ArchiveRefused, ArchiveUnavailable
from connectors.dependency import ASK_SECONDS, Dependencies, Dependency, ask_once
from connectors.kafka.ports import Kafka, KafkaUnreachable, Producer
from connectors.redis.client import RedisUnavailable
from connectors.redis.nodes import Nodes

_LOOK_SECONDS = 1.0
_STILL_SECONDS = 3.0
"""Without an acknowledgement, while records wait for one: they wait for 4 s (gateway/submit.py)."""
_ACKNOWLEDGEMENTS = "acknowledgements"
"""Who reports to a dependency."""
_AWAY = (KafkaUnreachable, RedisUnavailable, ArchiveUnavailable, ArchiveRefused)


class NodeHealth:
    """`slot` gives the node's slot, None while it has none. Run `watch` as long as the node
    lives."""

    def __init__(
        self,
        dependencies: Dependencies,
        kafka: Kafka,
        nodes: Nodes,
        archive: Archive | None,
        producer: Producer,
        slot: Callable[[], int | None],
    ) -> None:
        self._dependencies = dependencies
        self._kafka_health = dependencies.get("kafka", "messages wait")
        self._redis_health = dependencies.get("redis", "messages and logins wait")
        self._archive_health = dependencies.get("clickhouse", "old messages cannot be read")
        self._kafka = kafka
        self._nodes = nodes
        self._archive = archive
        self._producer = producer
        self._slot = slot

    def problems(self) -> list[str]:
        """One line each; none if all is well."""
        problems = self._dependencies.problems()
        if self._slot() is None:
            problems.append("this node has no gateway slot")
        return problems

    async def watch(self) -> None:
        """Until cancelled."""
        archive = self._archive
        async with asyncio.TaskGroup() as watching:
            watching.create_task(self._watch_acknowledgements())
            watching.create_task(
                _ask(self._kafka_health, lambda: asyncio.to_thread(self._kafka.topic_ids))
            )
            watching.create_task(_ask(self._redis_health, lambda: self._nodes.find(1)))
            if archive is not None:
                watching.create_task(_ask(self._archive_health, archive.answers))

    async def _watch_acknowledgements(self) -> None:
        """Notice that Kafka acknowledges nothing although records wait, until cancelled."""
        clock, kafka = asyncio.get_running_loop().time, self._kafka_health
        before, moved_at = 0, clock()
        while True:
            waiting = len(self._producer)
            if waiting == 0 or waiting < before:
                moved_at = clock()
                kafka.succeeded(_ACKNOWLEDGEMENTS)
            elif clock() - moved_at >= _STILL_SECONDS:
                kafka.failed(f"{waiting} records are not acknowledged", _ACKNOWLEDGEMENTS)
            before = waiting
            await asyncio.sleep(_LOOK_SECONDS)


async def _ask(dependency: Dependency, ask: Callable[[], Awaitable[object]]) -> None:
    """Ask again and again, until cancelled."""
    while True:
        await ask_once(dependency, ask, _AWAY)
        await asyncio.sleep(ASK_SECONDS)
