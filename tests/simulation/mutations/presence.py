"""Who is online: guards of the announcer and of the stage `presence`."""

import random
from typing import Any

import agents.presence.partition
from agents.presence.partition import PresencePartition
from agents.rules.presence import Outcome, fold_presence
from gateway.presence.announcer import PresenceAnnouncer
from schemas.topics import DELIVERIES, PRESENCE_SUBMITTED
from simulation.faults.kafka import TOPICS
from simulation.history import Step
from streams.stage import Stage
from tests.simulation.mutations.mutation import Mutation, opened
from tests.simulation.mutations.openings import AWAY_12, AWAY_35, ignored, lose_both, one_app_each


def _repeats_the_old(self: Any, user: Any, change: Any, sent_at: float) -> Any:
    return [(user, change)]


_assigned = Stage.assigned


def _keeps_what_it_has(self: Any, partitions: Any, generation: int) -> Any:
    self._generation = None
    return _assigned(self, partitions, generation)


_keep = PresencePartition._keep


async def _forgets_what_was_told(self: Any) -> None:
    try:
        await _keep(self)
    finally:
        self._unkept = {}


_deliver_and_keep = PresencePartition._deliver_and_keep


async def _forgets_whom_it_told(self: Any, outcome: Any) -> None:
    try:
        await _deliver_and_keep(self, outcome)
    finally:
        self._told.clear()


def _node_killed_and_a_slot_away(chance: random.Random) -> list[Step]:
    """A slot has no leader. A node and an app die; the other slots are told that the app's user is
    offline; then the app is back, on another node."""
    app = chance.choice((0, 2, 4))
    return [
        *one_app_each(chance),
        Step(0.3, "lose leader", TOPICS.index(DELIVERIES), 5 * chance.randrange(2) + AWAY_35),
        Step(1.0, "kill gateway", chance.randrange(2), 0),
        Step(0.0, "kill app", app, 0),
        Step(chance.uniform(9.5, 12.0), "open app", app, 0),
    ]


def _told_by_an_owner_that_dies(chance: random.Random) -> list[Step]:
    """The same, and the owner dies before it could keep that."""
    *before, back = _node_killed_and_a_slot_away(chance)
    return [
        *before,
        Step(chance.uniform(8.0, 10.0), "kill worker", 0, 0),
        Step(0.0, "kill worker", 1, 0),
        back._replace(wait=chance.uniform(0.0, 4.0)),
    ]


def _tells_comings_only(known: Any, changes: Any, topic: str, outcome: Outcome) -> None:
    for change in changes:
        before = outcome.changed.get(change.change.user) or known.state(change.change.user)
        told = set(outcome.published)
        fold_presence(known, [change], topic, outcome)
        after = outcome.changed.get(change.change.user)
        if before and after and before.online == after.online:
            outcome.published.intersection_update(told)


def _fact_that_fails(chance: random.Random) -> list[Step]:
    """Somebody goes; Kafka does not take it within 30 s. Shortly before, the same user is back."""
    app = chance.choice((0, 2, 4))
    return [
        *one_app_each(chance),
        *lose_both(1.0, PRESENCE_SUBMITTED, AWAY_35),
        Step(0.1, "close app", app, 0),
        Step(chance.uniform(24.0, 29.5), "open app", app, 0),
        Step(8.0, "look around", 0, 0),
    ]


def _node_killed(chance: random.Random) -> list[Step]:
    """The owner of a partition stands still. A node and an app die; the next owner tells that the
    app's user is offline. The first owner is back, and then the app, on another node."""
    app = chance.choice((0, 2, 4))
    return [
        *one_app_each(chance),
        Step(1.0, "pause worker", chance.randrange(2), AWAY_12),
        Step(chance.uniform(1.0, 2.0), "kill gateway", chance.randrange(2), 0),
        Step(0.0, "kill app", app, 0),
        Step(chance.uniform(11.5, 15.0), "open app", app, 0),
    ]


def _node_killed_and_full_disk(chance: random.Random) -> list[Step]:
    """A node and an app die. No worker can write its tables when it tells that the app's user is
    offline; then the app is back, on another node."""
    app = chance.choice((0, 2, 4))
    return [
        *one_app_each(chance),
        Step(1.0, "kill gateway", chance.randrange(2), 0),
        Step(0.0, "kill app", app, 0),
        Step(4.0, "fill disk", 0, AWAY_12),
        Step(0.0, "fill disk", 1, AWAY_12),
        Step(chance.uniform(4.0, 10.0), "open app", app, 0),
    ]


_COMINGS_ONLY = agents.presence.partition, "fold_presence", _tells_comings_only
"""The second guard, which hides that others are off."""

MUTATIONS = [
    Mutation(
        "a node does not say again who is here",
        "guard",
        "after a lease that vanished, users stay offline",
        [(PresenceAnnouncer, "announce", ignored)],
        {"pause_gateway": 15, "stop_redis": 10, "look_around": 10},
    ),
    opened(
        "an older fact follows a newer one",
        "guard, fault 3",
        "what Kafka did not take is published again as it was",
        [(PresenceAnnouncer, "_renew", _repeats_the_old)],
        opening=_fact_that_fails,
    ),
    opened(
        "a missed generation changes nothing",
        "guard, seed 277",
        "a worker that was expelled goes on with the tables that it had",
        [(Stage, "assigned", _keeps_what_it_has), _COMINGS_ONLY],
        opening=_node_killed,
    ),
    opened(
        "what was told and not kept is forgotten",
        "guard, seed 112",
        "presence folds the next change into what the table has",
        [(PresencePartition, "_keep", _forgets_what_was_told), _COMINGS_ONLY],
        opening=_node_killed_and_full_disk,
    ),
    opened(
        "who was told of a node's end, and not all, is forgotten",
        "guard, seed 880058",
        "presence folds the next change into what it kept",
        [(PresencePartition, "_deliver_and_keep", _forgets_whom_it_told), _COMINGS_ONLY],
        opening=_node_killed_and_a_slot_away,
    ),
    opened(
        "what a node says again is not told",
        "guard, seed 'kills 1'",
        "that a user is online is told only if the user was not",
        [_COMINGS_ONLY],
        opening=_told_by_an_owner_that_dies,
    ),
]
