"""R17: who has blocked whom, and who may ask."""

import random
from typing import Any

from gateway.people.requests import Requests
from gateway.people.send_gate import SendGate
from gateway.people.stances import Stances
from gateway.presence.subscriptions import PresenceSubscriptions
from simulation.history import Step
from tests.simulation.mutations.mutation import opened
from tests.simulation.mutations.openings import NO_ARCHIVE, ignored

_ALICE, _BOB = 0, 2  # their phones
_ASKING = NO_ARCHIVE._replace(policy="requests")


_forget = Stances.forget


def _forgets_all_or_nothing(self: Stances, other: str, users: Any = None) -> None:
    if users is None:
        _forget(self, other)


def _forgets_some_or_nothing(self: Stances, other: str, users: Any = None) -> None:
    if users is not None:
        _forget(self, other, users)


def _everything_passes(self: Any, item: Any, stance: Any, failed: Any) -> None:
    self._submitter.submit(item, failed)


def _alice_blocks_bob(chance: random.Random) -> list[Step]:
    """Who has just written to her, and watches her."""
    return [
        Step(0.0, "send", _ALICE, 0),
        Step(0.5, "send", _BOB, 0),
        Step(1.0, "look around", 0, 0),
        Step(chance.uniform(1.0, 2.0), "block", _ALICE, 0),
    ]


def _while_bob_is_away(chance: random.Random) -> list[Step]:
    """He is back before his node has forgotten him."""
    return [
        *_alice_blocks_bob(chance)[:3],
        *(Step(0.1, "close app", app, 0) for app in (_BOB, _BOB + 1)),
        Step(7.0, "block", _ALICE, 0),
        *(Step(0.5, "open app", app, 0) for app in (_BOB, _BOB + 1)),
    ]


def _bob_writes_twice(chance: random.Random) -> list[Step]:
    """To alice, who does not know him; with two apps, through two nodes or one."""
    return [
        *(Step(chance.choice((0.0, 0.1, 1.0)), "send", app, 0) for app in (_BOB, _BOB + 1)),
        Step(1.0, "look around", 0, 0),
    ]


async def _nobody_is_asked(self: Any, item: Any, to: str) -> None:
    return None


MUTATIONS = [
    opened(
        "the blocked pass",
        "R17.2",
        "a gateway does not look at what the recipient has decided",
        [(SendGate, "_pass", _everything_passes)],
        shape=NO_ARCHIVE,
        opening=_alice_blocks_bob,
    ),
    opened(
        "a node is not told of a block",
        "R17.2",
        "what a node knows stays when the owner says that it has changed",
        [(Stances, "forget", _forgets_all_or_nothing)],
        shape=NO_ARCHIVE,
        opening=_alice_blocks_bob,
    ),
    opened(
        "what passed a node by is not asked for",
        "R17.2",
        "what a node knows of a user stays when the user comes back",
        [(Stances, "forget", _forgets_some_or_nothing)],
        shape=NO_ARCHIVE,
        opening=_while_bob_is_away,
    ),
    opened(
        "presence is shown to the blocked",
        "R17.4",
        "who watches goes on watching when they are blocked",
        [(PresenceSubscriptions, "changed", ignored)],
        shape=NO_ARCHIVE,
        opening=_alice_blocks_bob,
    ),
    opened(
        "strangers write as much as they like",
        "R17.6",
        "a gateway names no first message to the owner of the recipient's list",
        [(Requests, "_judge", _nobody_is_asked)],
        shape=_ASKING,
        opening=_bob_writes_twice,
    ),
]
