"""R11 and R12: who has conversations where is said before it counts, and asked of one owner."""

import random
from collections.abc import Sequence
from typing import Any

from agents.memberships.partition import MembershipsPartition
from agents.rules.fanout import begun_in, deliveries, users_of
from agents.sequencer.deliverer import Deliverer
from agents.sequencer.first_messages import FirstMessages
from agents.sequencer.io import PartitionIO
from agents.sequencer.memberships import MemberSayer, member_records
from schemas.events import AllSaid, Membership
from schemas.topics import MEMBERSHIPS
from simulation.history import Step
from simulation.world import Shape
from streams.tables.changelog import Header
from streams.tables.memberships import MembershipTable
from tests.simulation.mutations.mutation import Mutation, opened
from tests.simulation.mutations.openings import AWAY_2, STAGES, lose_both, sends

_OTHERS = tuple(stage for stage in STAGES if stage != "memberships")
_ALONE = Shape(workers=(_OTHERS, ("memberships",)))
"""The memberships have a worker of their own."""


async def _nothing(self: Any, users: Sequence[str]) -> None:
    pass


async def _says_nothing(self: Any, users: Sequence[str], after: int) -> None:
    pass


async def _does_not_wait(self: Any, users: Sequence[str]) -> None:
    for record in member_records(users, self._number, self._io.partitions):
        partition, value, key = record
        self._io.producer.send(MEMBERSHIPS, partition, value, None, key)


async def _looks_first(self: Any, taken: Any, answers: Any) -> Any:
    users = users_of(taken, answers)
    if not users:
        return {}
    routes = await self._retry(lambda: self._io.lookup(list(users)))
    if begun := begun_in(taken):
        await self._first._say(begun)
    return deliveries(taken, answers, routes)


async def _says_only_that_it_has(self: Any, owned: Any, topic: str) -> None:
    await self._acknowledged(lambda: self._io.say_all_said(topic))
    self._applier.members_said(topic)


_write = MembershipTable.write


def _takes_any_all_said(self: Any, facts: Any, header: Header) -> None:
    here = [AllSaid(one.partition, header.topic) if type(one) is AllSaid else one for one in facts]
    _write(self, here, header)


def _reads_and_forgets(self: Any, facts: Any, header: Header) -> None:
    _write(self, [fact for fact in facts if not isinstance(fact, Membership)], header)


_init = MembershipTable.__init__


def _believes_all_said(self: Any, *args: Any) -> None:
    _init(self, *args)
    self.said = set(range(100))


_SENDERS, _RECEIVERS = (0, 1, 2), (3, 4, 5)
"""Users, by their places."""
_SIX = "alice", "bob", "carol", "dave", "erin", "frank"


def _first_messages(
    chance: random.Random, longest: float, before: Sequence[Step] = (), after: Sequence[Step] = ()
) -> list[Step]:
    """Each sender begins a conversation with each receiver, whose phone is opened up to `longest`
    seconds later. `before` and `after` come beside each first message."""
    steps = [Step(0.0, "kill app", 2 * user + 1, 0) for user in _RECEIVERS]
    for sender in _SENDERS:
        for receiver in _RECEIVERS:
            phone = 2 * receiver
            steps += [
                Step(0.1, "kill app", phone, 0),
                *before,
                Step(1.0, "send", 2 * sender, receiver - 1),
                *after,
                Step(chance.uniform(0.0, longest), "open app", phone, 0),
            ]
    return steps


def _lost_on_the_way(chance: random.Random) -> list[Step]:
    """When all members have been said, `memberships` has no leader for a while, and the sequencer's
    producer loses what is on its way there."""
    return [
        *lose_both(9.0, MEMBERSHIPS, AWAY_2),
        *sends(chance, 3),
        *(Step(0.3, "break producers", 2, number) for number in range(3)),
    ]


def _comes_as_its_worker_begins(chance: random.Random) -> list[Step]:
    """The worker of the memberships is killed before its table is on its disk."""
    return _first_messages(chance, 4.0, after=[Step(0.1, "kill worker", 3, 0)])


def _comes_before_it_can_be_said(chance: random.Random) -> list[Step]:
    """The sequencer's worker can send nothing for a while."""
    return _first_messages(chance, 0.9, before=[Step(3.0, "fill producers", 2, AWAY_2)])


def _begun_before(chance: random.Random) -> list[Step]:
    """Everybody talks, the topic is created anew, and apps come anew."""
    return [
        *(Step(0.3, "send", app, number) for app, number in ((0, 0), (2, 1), (4, 0))),
        Step(1.0, "recreate memberships", 0, 0),
        Step(chance.uniform(1.0, 8.0), "install", 0, 0),
        Step(chance.uniform(0.1, 2.0), "install", 1, 0),
    ]


def _twice_anew(chance: random.Random) -> list[Step]:
    """The topic is created anew, and once more while the sequencer says all its members: it looks
    10 s after its start. Then apps come anew."""
    return [
        *(Step(0.3, "send", app, number) for app, number in ((0, 0), (2, 1), (4, 0))),
        Step(1.0, "recreate memberships", 0, 0),
        Step(5.1 + chance.uniform(0.0, 0.03), "recreate memberships", 0, 0),
        *(Step(3.0 - user, "install", user, 0) for user in (0, 1, 2)),
    ]


_ALONE_SIX = _ALONE._replace(users=_SIX)

MUTATIONS = [
    Mutation(
        "members are not said",
        "R11.1",
        "the sequencer does not say who has a conversation that begins",
        [(PartitionIO, "say_members", _nothing)],
        {"send": 20, "install": 6},
    ),
    Mutation(
        "nobody waits until the members are said",
        "R11.1",
        "the sequencer does not wait for the acknowledgement of what it says",
        [(PartitionIO, "say_members", _does_not_wait)],
        {"send": 20, "kill_worker": 10, "break_producers": 10, "install": 6},
        opening=_lost_on_the_way,
        shape=_ALONE_SIX,
    ),
    opened(
        "routes are looked up before the members are said",
        "R11.1",
        "the sequencer says who has a conversation after the look for their routes",
        [(Deliverer, "_events", _looks_first), (FirstMessages, "say", _says_nothing)],
        opening=_comes_before_it_can_be_said,
        shape=_ALONE_SIX,
    ),
    Mutation(
        "those who were there before are not said",
        "R11.2",
        "the sequencer says that it has said all its members, and has not",
        [(MemberSayer, "say", _says_only_that_it_has)],
        {"recreate_memberships": 4, "install": 6},
        opening=_begun_before,
    ),
    opened(
        "AllSaid for another topic counts",
        "R11.2",
        "what was said to a topic counts in the one that was created after it",
        [(MembershipTable, "write", _takes_any_all_said)],
        most=200,
        opening=_twice_anew,
        shape=_ALONE,
    ),
    Mutation(
        "all have always said all",
        "R11.3",
        "a partition that has not said all its members is not asked",
        [(MembershipTable, "__init__", _believes_all_said)],
        {"recreate_memberships": 4, "install": 10},
        opening=_begun_before,
    ),
    Mutation(
        "memberships are not folded",
        "R12",
        "the owner of memberships forgets what it reads",
        [(MembershipTable, "write", _reads_and_forgets)],
        {"send": 20, "install": 10},
    ),
    Mutation(
        "an owner that is behind answers",
        "R12",
        "the owner of memberships answers before it has folded all that its topic has",
        [(MembershipsPartition, "_is_behind", lambda self, end: False)],
        {"kill_worker": 20, "send": 20, "install": 10},
        200,
        opening=_comes_as_its_worker_begins,
        shape=_ALONE_SIX,
    ),
]
