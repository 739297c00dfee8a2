"""What a message costs in Kafka requests, receipts included, at a light load."""

import random
from collections import Counter
from typing import Any
from unittest.mock import patch

from connectors.kafka.memory_producer import MemoryProducer
from schemas.topics import CURSORS, DELIVERIES, LOG, RECEIPTS, SUBMITTED
from simulation.world import Shape, World

_STAGES = "sequencer", "cursors", "presence", "memberships"
_RATE, _SECONDS = 200, 3.0


def test_only_what_a_message_waits_for_costs_it_a_request() -> None:
    """librdkafka makes one produce request of what it is given at once for a partition."""
    users = [f"user{number:03}" for number in range(100)]
    world = World(7, Shape(1, (_STAGES,), users, partitions=4, slots=1))
    requests: set[tuple[int, str, int, float]] = set()
    send = MemoryProducer.send

    def counted(self: MemoryProducer, topic: str, partition: int, *rest: Any) -> None:
        requests.add((id(self), topic, partition, world.loop.time()))
        send(self, topic, partition, *rest)

    try:
        world.advance(8.0)
        apps = {app.user: app for app in world.people.apps if app.name == "phone"}
        chance = random.Random(3)
        with patch.object(MemoryProducer, "send", counted):
            for _ in range(int(_RATE * _SECONDS)):
                world.advance(chance.expovariate(_RATE))
                place = chance.randrange(len(users))
                apps[users[place]].send(users[place ^ 1], "hello")
    finally:
        world.close()
    counts = Counter(topic for _, topic, _, _ in requests)
    a_message = {topic: count / _RATE / _SECONDS for topic, count in counts.items()}
    assert 0.9 < a_message[SUBMITTED] <= 1.0
    assert a_message[DELIVERIES] < 1.0, "marks ride with messages"
    assert a_message[RECEIPTS] < 0.25, "4 partitions every 100 ms"
    assert a_message[CURSORS] < 0.4
    assert a_message[LOG] < 0.45, "4 partitions every 50 ms"
