"""What the openings and patches of several mutations share.

Apps 0 to 5 are the phone and the tab of alice, of bob and of carol. Of all processes, gateways are
0 and 1, workers 2 and 3. Where something is away for a while, the last number of the step chooses
for how long: AWAY_5 for 5 seconds.
"""

import random
from typing import Any

from simulation.faults.kafka import LEADERLESS, TOPICS
from simulation.history import Step
from simulation.world import Shape

AWAY_0, AWAY_2, AWAY_5, AWAY_12, AWAY_35 = range(5)
"""The last is for leaders alone."""

# How often a kind of step comes

PAUSES = {"pause_worker": 20, "kill_worker": 6, "burst": 10, "send": 20}
KILLS = {"kill_worker": 25, "stop_worker": 4, "burst": 10, "send": 20}
REDIS = {"wipe_redis": 10, "older_redis": 10, "restart_redis": 8, "save_redis": 6, "send": 25}
CALM = dict.fromkeys(
    ("kill_worker", "stop_worker", "pause_worker", "lose_disk", "stop_kafka", "cut_from_kafka"), 0
)

STAGES = "sequencer", "cursors", "presence", "memberships", "people"
NO_ARCHIVE = Shape(workers=(STAGES, STAGES))


def lose_both(wait: float, topic: str, away: int) -> list[Step]:
    """After `wait` seconds, both partitions of the topic lose their leader."""
    place = TOPICS.index(topic)
    return [
        Step(wait, "lose leader", place, away),
        Step(0.0, "lose leader", place, len(LEADERLESS) + away),
    ]


def sends(chance: random.Random, count: int) -> list[Step]:
    """Some send a message, one soon after the other."""
    return [Step(0.01, "send", chance.randrange(6), chance.randrange(1000)) for _ in range(count)]


def one_app_each(chance: random.Random) -> list[Step]:
    """Everybody has one app, talks to everybody, and watches everybody."""
    return [
        *(Step(0.0, "close app", app, 0) for app in (1, 3, 5)),
        *(Step(0.1, "send", app, to) for app in (0, 2, 4) for to in (0, 1)),
        Step(1.0, "look around", 0, 0),
    ]


def ignored(*_: Any, **__: Any) -> None:
    """Does nothing."""


async def returns_true(*_: Any, **__: Any) -> bool:
    return True
