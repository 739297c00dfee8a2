"""The rules, each switched off in the production code, and how soon the simulation notices.

    python -m tests.simulation.mutations docs/mutations.md

writes the table. Each mutation replaces attributes of production classes or modules while its
histories are played; the histories lean to what the rule is there for.
"""

import asyncio
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from msgspec.structs import replace

import agents.cursors.partition
import agents.presence.partition
import agents.sequencer.log_applier
import agents.sequencer.partition
import connectors.redis.memory
from agents.presence.partition import PresencePartition
from agents.rules.batch import Batch, fold_records
from agents.rules.cursors import fold_receipts
from agents.rules.fold import FoldState
from agents.rules.log import Verdict
from agents.sequencer.appender import Appender
from agents.sequencer.deliverer import Deliverer
from agents.sequencer.partition import SequencerPartition
from connectors.redis.memory import MemoryUserPartitions
from connectors.redis.user_partitions import Entry
from gateway.presence.announcer import PresenceAnnouncer
from gateway.queries.worker_client import WorkerClient
from gateway.registry import ConnectionRegistry
from gateway.route_writer import RouteWriter
from gateway.slot_lease import SlotLease
from messenger_sdk.inbox import Inbox
from messenger_sdk.marks import MarkBook
from schemas.topics import SUBMITTED
from simulation import history
from simulation.history import Step
from simulation.world import Shape
from streams.stage import Stage
from streams.tables.sequences import SequenceTable

Patch = tuple[Any, str, Any]
Opening = Callable[[random.Random], list[Step]]

_FEW = 60


class Mutation(NamedTuple):
    """`rule`, as docs/RULES.md numbers it, or the guard; `off`: what the mutated code does.
    `patches` are (object, attribute, value); `most` histories must be enough to find it. Each
    begins with `opening`, and goes on at random."""

    name: str
    rule: str
    off: str
    patches: list[Patch]
    kinds: dict[str, int]
    most: int = 60
    shape: Shape = Shape()
    opening: Opening = lambda chance: []
    missed: bool = False
    """The simulation does not find it yet."""

    @property
    def soon(self) -> bool:
        """A few histories are enough."""
        return self.most <= _FEW


@contextmanager
def mutated(mutation: Mutation) -> Iterator[None]:
    """The production code is mutated."""
    patches = [patch.object(*one) for one in mutation.patches]
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in reversed(patches):
            one.stop()


def find(mutation: Mutation) -> tuple[int, str] | None:
    """How many histories were played until one went wrong, and what was wrong; None if none
    did."""
    kinds = history.weights(**{"cut_log": 0, **mutation.kinds})
    with mutated(mutation):
        for seed in range(mutation.most):
            name = f"{mutation.name} {seed}"
            steps = [
                *mutation.opening(random.Random(f"{name} opening")),
                *history.make(name, kinds, 40),
            ]
            played = history.play(f"{mutation.name} {seed}", steps, mutation.shape)
            if played.wrong:
                break
        else:
            return None
    # Not by the mutation alone, if the code as it is goes wrong, too.
    wrong = history.play(f"{mutation.name} {seed}", steps, mutation.shape).wrong
    assert not wrong, f"{mutation.name} {seed}: {wrong[0]}"
    return seed + 1, played.wrong[0]


# R1


def _drops_repeats(state: FoldState, records: Any) -> Iterator[Batch]:
    for batch in fold_records(state, records):
        if batch.outcome.taken or batch.outcome.dead:
            yield batch


_submit = FoldState._submit


def _takes_any_ordinal(self: Any, offset: int, index: int, item: Any, outcome: Any) -> None:
    conversation = self._conversations.get(item.conversation) or self._load(item.conversation)
    outbox = conversation.outboxes.get((item.sender, item.outbox)) if conversation else None
    if outbox is not None:
        outbox.ordinal = item.ordinal - 1
    _submit(self, offset, index, item, outcome)


# R3, R5, R6

_restore = SequencerPartition._restore


def _jumps_to_the_end(self: Any) -> int:
    position = _restore(self)
    reader = self.io._io.kafka.reader(5.0)
    end: int = reader.watermarks(SUBMITTED, self.number)[1]
    if end > position:
        self._state.position = end - 1
        return end
    return position


def _delivers_nothing_again(self: Any) -> int:
    position = _restore(self)
    self._deliverer = Deliverer(self.io, self.retry, position - 1, position - 1, 0)
    return position


def _done_when_appended(self: Any) -> int:
    position: int = self._applier.header.position
    return position


def _believes_every_report(self: Any, item: Any, ok: bool, offset: int) -> None:
    self._unreported -= 1
    if self._closed or item not in self._in_flight:
        return
    self._in_flight.remove(item)
    self._bytes -= len(item.value)
    following = self._applier.header.log_offset + 1
    self._applier.header = replace(self._applier.header, log_offset=max(offset, following) - 1)
    self._applier.apply(max(offset, following), 0, item.entry)
    self._partition.landed(max(offset, following), item.entry.to)


async def _nothing(*_: Any, **__: Any) -> None:
    return None


def _ignored(*_: Any, **__: Any) -> None:
    return None


# R7


def _stops_at_poison(state: FoldState, records: Any) -> Iterator[Batch]:
    for batch in fold_records(state, records):
        if batch.outcome.dead:
            raise ValueError("it cannot be read")
        yield batch


# R10


def _publishes_news_only(known: Any, items: Any, outcome: Any) -> None:
    fold_receipts(known, items, outcome)
    news = {cursor[:2] for cursor in outcome.changed}
    for place in [place for place in outcome.published if place not in news]:
        del outcome.published[place]


_answer = MarkBook.answer


def _says_nothing_again(self: Any, marks: Any, now: float) -> Any:
    news = _answer(self, marks, now)
    self._unsent.clear()
    return news


# R12, R13


def _any_epoch(self: Any, user: str) -> Entry:
    entry = connectors.redis.memory._held(self._server, user)
    if entry is not None:
        entry.until = self._now() + self._seconds
        token = entry.fill_token
        return Entry((), token) if token is not None else Entry(sorted(entry.partitions))
    return _find(self, user)


_find = MemoryUserPartitions._find


def _completes_any(self: Any, user: str, mark: str, partitions: Any) -> bool:
    entry = connectors.redis.memory._held(self._server, user)
    if entry is None:
        return False
    entry.partitions = set(partitions)
    entry.fill_token = None
    return True


_ask_owners = WorkerClient.ask_owners


async def _always_complete(self: Any, *args: Any) -> Any:
    found, _ = await _ask_owners(self, *args)
    return found, True


# R14


async def _position_after_routes(self: Any, slot: int) -> bool:
    self._consumer = _NoConsumer()
    self._user.slot_leased(slot, vanished=False)
    await asyncio.sleep(0.5)
    self._consumer = None
    return await _begin(self, slot)


_begin = SlotLease._begin


class _NoConsumer:
    async def close(self) -> None: ...


# Guards

_renew = PresenceAnnouncer._renew


def _repeats_the_old(self: Any, user: Any, change: Any, sent_at: float) -> Any:
    return [(user, change)]


def _keeps_what_it_has(self: Any, partitions: Any, generation: int) -> Any:
    self._generation = None
    return _assigned(self, partitions, generation)


_assigned = Stage.assigned
_deliver_and_keep = PresencePartition._deliver_and_keep


async def _forgets_what_was_told(self: Any, outcome: Any) -> None:
    try:
        await _deliver_and_keep(self, outcome)
    finally:
        self._unkept = {}


_deliver = ConnectionRegistry.deliver


def _pushes_what_was_seen(self: Any, event: Any, *rest: Any) -> Any:
    for devices in self._users.values():
        for connection in devices.values():
            if hasattr(connection, "seen"):
                connection.seen.clear()
    return _deliver(self, event, *rest)


_PAUSES = {"pause_worker": 20, "kill_worker": 6, "burst": 10, "send": 20}
_KILLS = {"kill_worker": 25, "stop_worker": 4, "burst": 10, "send": 20}
_REDIS = {"wipe_redis": 10, "older_redis": 10, "restart_redis": 8, "save_redis": 6, "send": 25}

_STAGES = "sequencer", "cursors", "presence"
_NO_ARCHIVE = Shape(workers=(_STAGES, _STAGES))

# Openings. Where something is away for a while, the last number of the step chooses for how long.
# Apps 0 to 5 are the phone and the tab of alice, of bob and of carol. Of all processes, gateways
# are 0 and 1, workers 2 and 3.

_AWAY_0, _AWAY_2, _AWAY_5, _AWAY_12 = range(4)
_SUBMITTED, _LOG, _PRESENCE_SUBMITTED = 0, 1, 5  # as simulation/faults.py numbers topics
_CALM = dict.fromkeys(
    ("kill_worker", "stop_worker", "pause_worker", "lose_disk", "stop_kafka", "cut_from_kafka"), 0
)


def _both_partitions(wait: float, topic: int, away: int) -> list[Step]:
    """Both lose their leader."""
    return [Step(wait, "lose leader", topic, away), Step(0.0, "lose leader", topic, 4 + away)]


def _sends(chance: random.Random, count: int) -> list[Step]:
    return [Step(0.01, "send", chance.randrange(6), chance.randrange(1000)) for _ in range(count)]


def _one_app_each(chance: random.Random) -> list[Step]:
    """Everybody has one app, talks to everybody, and watches everybody."""
    return [
        *(Step(0.0, "close app", app, 0) for app in (1, 3, 5)),
        *(Step(0.1, "send", app, to) for app in (0, 2, 4) for to in (0, 1)),
        Step(1.0, "look around", 0, 0),
    ]


def _late_append(chance: random.Random) -> list[Step]:
    """A worker is paused with appends that it has not sent; another takes over; then it wakes, and
    sends them; then the owner dies."""
    return [
        *_sends(chance, 6),
        *_both_partitions(0.5, _LOG, _AWAY_5),
        *_sends(chance, 6),
        Step(0.2, "pause worker", chance.randrange(2), _AWAY_12),
        Step(7.0, "send", 0, 0),
        *_sends(chance, 10),
        Step(5.5, "send", 0, 0),
        Step(0.5, "kill worker", 0, 0),
        Step(0.0, "kill worker", 1, 0),
        Step(6.0, "send", 0, 0),
        *_sends(chance, 6),
    ]


def _lost_appends(chance: random.Random) -> list[Step]:
    """The client of the log fails, with appends under way."""
    return [
        *_sends(chance, 2),
        *_both_partitions(0.5, _LOG, _AWAY_2),
        *_sends(chance, 4),
        Step(0.3, "break producers", 2, chance.randrange(1000)),
        Step(0.0, "break producers", 3, chance.randrange(1000)),
    ]


def _append_of_a_dead_owner(chance: random.Random) -> list[Step]:
    """A paused owner wakes, appends what its successor has not read yet, and dies before it
    delivers it."""
    paused = chance.randrange(2)
    return [
        *_sends(chance, 4),
        Step(1.0, "pause worker", paused, _AWAY_5),
        *_both_partitions(3.9, _LOG, _AWAY_0),
        *_sends(chance, 4),
        Step(0.1, "cut from kafka", 3 - paused, 3 * _AWAY_2),
        *_sends(chance, 4),
        Step(0.2, "cut from redis", 2 + paused, _AWAY_5),
        *_both_partitions(chance.uniform(0.8, 0.95), _SUBMITTED, _AWAY_2),
        Step(0.0, "kill worker", paused, 0),
        Step(6.0, "look around", 0, 0),
    ]


def _fact_that_fails(chance: random.Random) -> list[Step]:
    """Somebody goes and comes back at once, while the client of a gateway fails."""
    steps = _one_app_each(chance)
    for _ in range(4):
        app = chance.choice((0, 2, 4))
        steps += [
            *_both_partitions(1.0, _PRESENCE_SUBMITTED, _AWAY_2),
            Step(0.1, "close app", app, 0),
            Step(0.003, "open app", app, 0),
            Step(chance.uniform(0.01, 0.09), "break producers", 0, 0),
            Step(0.0, "break producers", 1, 0),
            Step(1.0, "look around", 0, 0),
        ]
    return steps


def _node_paused(chance: random.Random) -> list[Step]:
    """A node is silent for so long that its users are offline; meanwhile the worker that tells so
    changes, and then the first one is back."""
    return [
        *_one_app_each(chance),
        Step(1.0, "pause worker", chance.randrange(2), _AWAY_12),
        Step(chance.uniform(1.1, 2.2), "pause gateway", chance.randrange(2), _AWAY_12),
        Step(15.0, "look around", 0, 0),
    ]


def _full_disk_and_a_node_paused(chance: random.Random) -> list[Step]:
    """The same, while no worker can write its tables."""
    return [
        *_one_app_each(chance),
        Step(1.0, "pause gateway", chance.randrange(2), _AWAY_12),
        Step(chance.uniform(0.3, 2.0), "fill disk", 0, _AWAY_12),
        Step(0.0, "fill disk", 1, _AWAY_12),
        Step(15.0, "look around", 0, 0),
    ]


def _two_fills(chance: random.Random) -> list[Step]:
    """An app asks everybody for its conversations, and one worker is slow. Redis begins anew,
    another app asks, and a conversation begins with a worker that has answered."""
    return [
        Step(0.5, "restart redis", 0, 1),
        Step(1.5, "pause worker", chance.randrange(2), _AWAY_2),
        Step(0.01, "reset", 0, 0),
        Step(0.4, "restart redis", 0, 1),
        Step(0.01, "reset", 1, 0),
        Step(chance.uniform(0.8, 1.4), "send", 4, 0),
        Step(4.0, "install", 0, 0),
    ]


def _asked_after_its_pause(chance: random.Random) -> list[Step]:
    """Redis loses the claims; a worker wakes that has lost its partitions, claims them and is
    asked."""
    return [
        *_one_app_each(chance),
        Step(1.0, "pause worker", chance.randrange(2), _AWAY_5),
        Step(3.8, "kill app", chance.choice((0, 2, 4)), 0),
        *_sends(chance, 6),
        Step(0.3, "open app", 0, 0),
        Step(0.0, "open app", 2, 0),
        Step(0.0, "open app", 4, 0),
        Step(chance.uniform(0.4, 0.75), "wipe redis", 0, 0),
        *(Step(chance.uniform(0.05, 0.15), "reset", app, 0) for app in (0, 2, 4, 0, 2, 4)),
    ]


MUTATIONS = [
    Mutation(
        "repeats leave no log record",
        "R1.1",
        "a batch of repeats alone is not appended",
        [(agents.sequencer.partition, "fold_records", _drops_repeats)],
        {"cut_from_kafka": 8, "lose_network": 8, "send": 30, "go_offline": 8},
    ),
    Mutation(
        "the fold takes any ordinal",
        "R1.4",
        "a send that comes again is numbered again",
        [(FoldState, "_submit", _takes_any_ordinal)],
        {"lose_network": 8, "send": 30, "kill_gateway": 8},
    ),
    Mutation(
        "a reader takes every record",
        "R2",
        "a late append of a woken owner is applied",
        [
            (agents.sequencer.log_applier, "judge", lambda position, entry: Verdict.TAKE),
            (agents.sequencer.log_applier, "news", lambda position, entry: entry.taken),
        ],
        {**_PAUSES, "cut_log": 1, "break_producers": 20, "lose_leader": 8},
        100,
        opening=_late_append,
    ),
    Mutation(
        "a new owner jumps to the end of the input",
        "R3.2",
        "the position is where Kafka is, not where the state is",
        [(SequencerPartition, "_restore", _jumps_to_the_end)],
        _KILLS,
    ),
    Mutation(
        "nothing is delivered again",
        "R5.2",
        "a new owner takes what is in the log for delivered",
        [(SequencerPartition, "_restore", _delivers_nothing_again)],
        {**_KILLS, "stop_redis": 6, "lose_leader": 6},
    ),
    Mutation(
        "d moves without deliveries",
        "R5.1",
        "what is appended counts as delivered",
        [(SequencerPartition, "_done", property(_done_when_appended))],
        {**_KILLS, "stop_redis": 8, "lose_leader": 10},
    ),
    Mutation(
        "the appender believes every report",
        "R6.1",
        "an append that failed counts as landed (and R3.5, which would heal it, is off)",
        [
            (Appender, "_reported", _believes_every_report),
            (SequencerPartition, "log_is", _ignored),
        ],
        {**_CALM, "break_producers": 25, "lose_leader": 25, "send": 25, "burst": 15},
        opening=_lost_appends,
    ),
    Mutation(
        "poison stops a partition",
        "R7.1",
        "what no decoder reads is an exception",
        [(agents.sequencer.partition, "fold_records", _stops_at_poison)],
        {"write_garbage": 10},
    ),
    Mutation(
        "no dead letters",
        "R7.2",
        "what cannot be read is covered by the log and not set aside",
        [(Appender, "_set_aside", lambda self, dead: _clears(dead))],
        {"write_garbage": 10},
    ),
    Mutation(
        "no places in the log",
        "R9.1",
        "the table does not know which log record holds a message",
        [(SequenceTable, "places", lambda self, *_: [])],
        {"open_app": 12, "close_app": 8, "send": 20},
        shape=_NO_ARCHIVE,
    ),
    Mutation(
        "an equal mark is not published again",
        "R10.3",
        "a receipt that equals its cursor is dropped",
        [(agents.cursors.partition, "fold_receipts", _publishes_news_only)],
        {"kill_worker": 20, "read": 15, "send": 20, "cut_from_redis": 6, "lose_leader": 8},
        200,
    ),
    Mutation(
        "a device does not say its marks again",
        "R10.4",
        "what the server does not know is not repeated",
        [(MarkBook, "answer", _says_nothing_again)],
        {"kill_gateway": 15, "fill_producers": 8, "cut_from_kafka": 12, "read": 15, "send": 20},
        200,
    ),
    Mutation(
        "a lookup adds no partitions",
        "R11",
        "a conversation that begins is not added to its users' entries",
        [(connectors.redis.memory, "_add", _ignored)],
        {"lose_network": 10, "reset": 10, "install": 8, "send": 20},
    ),
    Mutation(
        "entries outlive their Redis",
        "R12",
        "an entry of another run counts",
        [(MemoryUserPartitions, "_find", _any_epoch)],
        {**_REDIS, "install": 6, "reset": 12},
        200,
    ),
    Mutation(
        "an entry is completed whatever its fill token",
        "R13.1",
        "whoever has asked all owners completes the entry, also one that began anew",
        [
            (MemoryUserPartitions, "_complete", _completes_any),
        ],
        {**_REDIS, "cut_log": 1, "reset": 20, "install": 8, "send": 40, "slow_redis": 10},
        200,
        opening=_two_fills,
    ),
    Mutation(
        "a part counts as the whole",
        "R13.2",
        "an answer of some owners is complete",
        [(WorkerClient, "ask_owners", _always_complete)],
        {"cut_from_workers": 8, "kill_worker": 10, "pause_worker": 10, "reset": 10, "send": 20},
        200,
    ),
    Mutation(
        "the position comes after the routes",
        "R14",
        "devices are routed before the node knows from where it reads",
        [(SlotLease, "_begin", _position_after_routes)],
        {"kill_gateway": 15, "stop_gateway": 8, "send": 40},
        200,
    ),
    Mutation(
        "a lost position is not noticed",
        "R14",
        "a node whose deliveries have expired goes on",
        [(SlotLease, "_on_lost", _ignored)],
        {"expire_deliveries": 15, "pause_gateway": 10, "cut_from_kafka": 10, "send": 30},
        200,
    ),
    Mutation(
        "a slot that is taken is not noticed",
        "R14",
        "a node that cannot reach Redis keeps its sessions when another has its slot",
        [(SlotLease, "slot_taken", _ignored)],
        {"take_slot": 15, "send": 30},
        shape=Shape(slots=2),
    ),
    Mutation(
        "routes are not written again",
        "R15",
        "a lease that vanished changes nothing",
        [(RouteWriter, "_renew_all", lambda self, vanished: _true())],
        _REDIS,
    ),
    Mutation(
        "devices are not told to ask again",
        "R15",
        "routes are written again, without a resync",
        [(Inbox, "resync", _ignored)],
        _REDIS,
    ),
    Mutation(
        "a node does not say again who is here",
        "guard",
        "after a lease that vanished, users stay offline",
        [(PresenceAnnouncer, "announce", _ignored)],
        {"pause_gateway": 15, "stop_redis": 10, "look_around": 10},
    ),
    Mutation(
        "an older fact follows a newer one",
        "guard, fault 3",
        "what Kafka did not take is published again as it was",
        [(PresenceAnnouncer, "_renew", _repeats_the_old)],
        {"lose_leader": 20, "close_app": 15, "open_app": 20, "cut_from_kafka": 10},
        opening=_fact_that_fails,
        missed=True,
    ),
    Mutation(
        "the log ahead is not delivered",
        "guard, fault 16",
        "what another owner has appended is left to that owner to deliver",
        [(Deliverer, "owe", _ignored)],
        {**_PAUSES, "lose_leader": 8},
        40,
        opening=_append_of_a_dead_owner,
        missed=True,
    ),
    Mutation(
        "an owner that was paused answers",
        "guard, fault 22",
        "a worker answers for partitions that it may have lost",
        [(Stage, "confirmed", property(lambda self: True))],
        {**_PAUSES, **_REDIS, "reset": 15},
        most=40,
        opening=_asked_after_its_pause,
        missed=True,
    ),
    Mutation(
        "a missed generation changes nothing",
        "guard, seed 277",
        "a worker that was expelled goes on with the tables that it had",
        [(Stage, "assigned", _keeps_what_it_has)],
        {
            "cut_log": 1,
            "pause_worker": 20,
            "kill_gateway": 8,
            "close_app": 8,
            "open_app": 10,
            "look_around": 8,
        },
        opening=_node_paused,
    ),
    Mutation(
        "what was told and not kept is forgotten",
        "guard, seed 112",
        "presence folds the next change into what the table has",
        [(PresencePartition, "_deliver_and_keep", _forgets_what_was_told)],
        {
            "cut_log": 1,
            "fill_disk": 12,
            "pause_gateway": 15,
            "break_producers": 10,
            "look_around": 8,
        },
        most=100,
        opening=_full_disk_and_a_node_paused,
    ),
]


async def _true() -> bool:
    return True


async def _clears(dead: list[Any]) -> None:
    dead.clear()


_HEAD = """\
# Mutations

Each line switches one rule off in the production code and plays random histories that lean to it
(tests/simulation/mutations.py). `python -m tests.simulation.mutations docs/mutations.md` writes
this page. Some begin with steps that lead to what the rule is there for. A rule with "none" is
guarded a second time, or rare: histories do not find its mutation yet, and the tests that
docs/RULES.md names show it. R4 (delivery does not wait for the append) is
about time: `test_a_message_is_delivered_while_the_log_cannot_be_written`. R8 (snapshots) is not
built.

| rule | mutation | histories until it is found | what is seen |
|---|---|---|---|
"""


def table(row: Callable[[Mutation], tuple[int, str] | None] = find) -> str:
    """The mutations and how many histories each took, as markdown."""
    lines = _HEAD.splitlines()
    for mutation in MUTATIONS:
        found = row(mutation)
        number, seen = (str(found[0]), found[1]) if found else (f"none in {mutation.most}", "")
        print(mutation.rule, mutation.name, number, seen[:100], flush=True)
        seen = seen.replace("|", "/").split("\n")[0][:90]
        lines.append(f"| {mutation.rule} | {mutation.name}: {mutation.off} | {number} | {seen} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    page = table()
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(page)
