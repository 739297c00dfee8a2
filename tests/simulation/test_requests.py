"""What a message costs in Kafka requests, receipts included, at a light load."""

import random
from collections import Counter
from typing import Any
from unittest.mock import patch

from connectors.kafka.memory_producer import MemoryProducer
from schemas.topics import CURSORS, DELIVERIES, LOG, RECEIPTS, SUBMITTED
from simulation.world import Shape, World

_STAGES = "sequencer", "cursors", "presence", "memberships", "people"


def test_only_what_a_message_waits_for_costs_it_a_request() -> None:
    """librdkafka makes one produce request of what it is given at once for a partition."""
    light, busy = requests_a_message((200, 3.0), (1_000, 0.6))
    assert 0.9 < light[SUBMITTED] <= 1.0, "at light load nothing waits"
    assert light[DELIVERIES] < 0.9, "marks ride with messages"
    assert light[RECEIPTS] < 0.08, "4 partitions every 300 ms"
    assert light[CURSORS] < 0.1
    assert light[LOG] < 0.2, "4 partitions every 200 ms"
    assert busy[SUBMITTED] < 0.8, "4 partitions every 3 ms"
    assert busy[DELIVERIES] < 0.35, "what was submitted together is delivered together"


def requests_a_message(*loads: tuple[int, float]) -> list[dict[str, float]]:
    """topic → produce requests a message, for each (messages/s, seconds)."""
    users = [f"user{number:03}" for number in range(100)]
    world = World(7, Shape(1, (_STAGES,), users, partitions=4, slots=1))
    requests: set[tuple[int, str, int, float]] = set()
    found: list[dict[str, float]] = []
    send = MemoryProducer.send

    def counted(self: MemoryProducer, topic: str, partition: int, *rest: Any) -> None:
        requests.add((id(self), topic, partition, world.loop.time()))
        send(self, topic, partition, *rest)

    try:
        world.advance(8.0)
        apps = {app.user: app for app in world.people.apps if app.name == "phone"}
        chance = random.Random(3)
        with patch.object(MemoryProducer, "send", counted):
            for rate, seconds in loads:
                requests.clear()
                for _ in range(int(rate * seconds)):
                    world.advance(chance.expovariate(rate))
                    place = chance.randrange(len(users))
                    apps[users[place]].send(users[place ^ 1], "hello")
                counts = Counter(topic for _, topic, _, _ in requests)
                found.append({topic: count / rate / seconds for topic, count in counts.items()})
    finally:
        world.close()
    return found
