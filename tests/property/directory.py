"""A random model of who is asked about a user: partitions with owners that lag, crash, pause and
wake, a Redis that is wiped or comes back with an older file, devices that sync while conversations
begin, and gateways that die half-way.

Real are the gateway's questions (gateway/queries/conversations.py, whereabouts.py) and the ports in
memory; every step between two of their calls may be anybody's. `off` switches one rule off, to show
that the model notices.
"""

import copy
import itertools
import random
import types
from collections.abc import Callable, Coroutine, Generator, Iterable, Sequence
from typing import Any, TypeVar, cast

from msgspec import Struct

from connectors.redis.memory import MemoryRoutes, MemoryUserPartitions
from connectors.redis.routes import Route
from connectors.redis.user_partitions import Begun, Entry
from gateway.queries.conversations import ConversationQueries
from gateway.queries.partition_lookup import PartitionLookup
from gateway.queries.worker_client import WorkerClient
from schemas.frames import Heads, Sync
from schemas.ids import members_of_valid, partition_of
from tests.property.model import Fault

_Result = TypeVar("_Result")

PARTITIONS = 3
USERS = ("alice", "bob", "carol", "dave")
CONVERSATIONS = tuple(f"{one}:{other}" for one, other in itertools.combinations(USERS, 2))
RULES = [
    "a route comes before the question",
    "what begins is added with the look for routes",
    "what begins while an entry fills is kept",
    "an answer holds all of the input",
    "an answer that is not complete fills nothing",
    "a filling that is gone is not completed",
    "another life of Redis knows nobody",
    "what is delivered from the log is added",
]
_WAITING = 3
"""Turns that a worker waits for what has not landed."""


@types.coroutine
def turn() -> Generator[None]:
    """Everybody else may move now."""
    yield


def now_or_never(coroutine: Coroutine[Any, Any, _Result]) -> _Result:
    """The result of a coroutine that waits for nothing, as those of the ports in memory do."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: _Result = done.value
        return result
    raise AssertionError("it waits for something")


class Partition:
    """Its input and its log: (input offset, d of R5) each."""

    def __init__(self, world: "World", number: int) -> None:
        self.world = world
        self.number = number
        self.input: list[str] = []
        self.log: list[tuple[int, int]] = []
        self.committed = -1
        self.owner = Worker(self)
        self.others: list[Worker] = []
        """Were owners, and do not know that they are not."""

    def take_over(self, paused: bool) -> None:
        """Another worker has the partition; the last one is paused, or has died: what it appends
        may land, or not."""
        last = self.owner
        if paused:
            self.others.append(last)
        else:
            last.alive = False
            for _ in range(self.world.chance.randint(0, len(last.flying))):
                self.log.append(last.flying.pop(0))
        self.owner = Worker(self)
        # What another than the owner has told is known to be told, though the owner did not know it
        # when it was asked.
        self.world.unsure.update(self.input[last.sent + 1 : self.owner.sent + 1])


class Worker:
    """Folds, delivers and appends, each as far as it has got."""

    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self.alive = True
        self.landed = -1
        self._read = 0
        self._deliver_from = partition.committed
        self._read_log()
        self.restored = self.folded = self.landed
        self.sent = min(self._deliver_from, self.landed)
        self.flying: list[tuple[int, int]] = []

    def fold(self) -> None:
        if self.folded + 1 < len(self.partition.input):
            self.folded += 1
            self.flying.append((self.folded, min(self.sent, self.landed)))

    def deliver(self) -> None:
        if self.sent < self.folded:
            self.sent += 1
            self.partition.world.deliver(
                self.partition, self.sent, from_log=self.sent <= self.restored
            )

    def land(self) -> None:
        if self.flying:
            self.partition.log.append(self.flying.pop(0))
            self._read_log()
            self.folded = max(self.folded, self.landed)
            self.flying = [one for one in self.flying if one[0] > self.landed]

    def commit(self) -> None:
        if self is self.partition.owner:
            self.partition.committed = max(self.partition.committed, min(self.sent, self.landed))

    def _read_log(self) -> None:
        for offset, delivered in self.partition.log[self._read :]:
            self._deliver_from = max(self._deliver_from, delivered)
            if offset == self.landed + 1:  # R2
                self.landed = offset
        self._read = len(self.partition.log)

    async def conversations(self, user: str, position: Callable[[], int]) -> set[str] | None:
        """Of all that has landed; None if what is up to `position` has not, though waited for."""
        wanted = position()
        for _ in range(_WAITING):
            if self.landed >= wanted:
                break
            await turn()
        if not self.alive or self.landed < wanted:
            return None
        return {
            name
            for name in self.partition.input[: self.landed + 1]
            if user in members_of_valid(name)
        }

    async def holds(self, user: str) -> bool | None:
        everything = self.partition.world.off != "an answer holds all of the input"
        found = await self.conversations(
            user, lambda: len(self.partition.input) - 1 if everything else self.folded
        )
        return None if found is None else bool(found)

    async def heads(self, user: str) -> dict[str, int] | None:
        found = await self.conversations(user, lambda: self.folded)
        return None if found is None else dict.fromkeys(found, 1)


class SteppingDirectory(MemoryUserPartitions):
    """With a rule switched off."""

    def __init__(self, off: str) -> None:
        super().__init__(lambda: 0.0)
        self._off = off

    async def complete(self, user: str, mark: str, partitions: Sequence[int]) -> bool:
        if self._off == "a filling that is gone is not completed":
            mark = (await self.find(user)).mark or ""
        return await super().complete(user, mark, partitions)

    def add(self, begun: Begun) -> None:
        filling = [
            user
            for user in begun.users
            if (entry := self._entries.get(user)) and entry.mark is not None
        ]
        ignored = filling if self._off == "what begins while an entry fills is kept" else []
        super().add(Begun(begun.partition, [user for user in begun.users if user not in ignored]))

    def known(self, user: str) -> set[int] | None:
        """The partitions of a complete entry, as `find` would give them."""
        entry = self._entries.get(user)
        if entry is None or entry.mark is not None or (self.run, entry.epoch) != self._epoch:
            return None
        return entry.partitions


class Device:
    """`syncing` is what it asks just now."""

    def __init__(self, user: str, name: str) -> None:
        self.user = user
        self.name = name
        self.online = False
        self.routed = False
        self.asked_early = False
        self.owes_sync = False
        self.syncing: Coroutine[Any, Any, Heads] | None = None
        self.knows: set[str] = set()


class World:
    def __init__(self, chance: random.Random, off: str = "") -> None:
        self.chance = chance
        self.off = off
        self.faulty = True
        """Workers are not always reached."""
        self.unsure: set[str] = set()
        self.told: set[str] = set()
        """Conversations of which something has been delivered."""
        self.redis = self._new_redis()
        self.older = copy.deepcopy(self.redis)
        self._late: list[Begun] = []
        self.partitions = PARTITIONS
        self.parts = [Partition(self, number) for number in range(PARTITIONS)]
        self.devices = [Device(user, name) for user in USERS[:2] for name in ("phone", "tablet")]
        workers = cast(WorkerClient, self)
        self.whereabouts = PartitionLookup(self, workers)
        self.ranges = ConversationQueries(workers, self.whereabouts)

    def _new_redis(self) -> MemoryRoutes:
        redis = MemoryRoutes(lambda: 0.0, directory=SteppingDirectory(self.off))
        now_or_never(redis.acquire_slot("node", 1))
        return redis

    @property
    def directory(self) -> SteppingDirectory:
        return cast(SteppingDirectory, self.redis.directory)

    # The ports of the gateway

    async def find(self, user: str) -> Entry:
        await turn()
        return await self.directory.find(user)

    async def complete(self, user: str, mark: str, partitions: Sequence[int]) -> bool:
        await turn()
        return await self.directory.complete(user, mark, partitions)

    async def ask_owners(
        self,
        page: str,
        answer: object,
        partitions: Iterable[int],
        question: Callable[[list[int]], Struct],
    ) -> tuple[dict[int, Any], bool]:
        wanted = list(partitions)
        await turn()
        before = {number: self.parts[number].owner for number in wanted}
        found: dict[int, Any] = {}
        user = cast(Any, question(wanted)).user
        for number in self.chance.sample(wanted, len(wanted)):
            await turn()
            reached = before[number].alive and not (self.faulty and self.chance.random() < 0.1)
            one = (
                await getattr(before[number], page if page == "heads" else "holds")(user)
                if reached
                else None
            )
            if one is not None:
                found[number] = one
        await turn()
        complete = all(
            number in found and before[number] is self.parts[number].owner for number in wanted
        )
        if page == "holding" and self.off == "an answer that is not complete fills nothing":
            return {number: found.get(number, False) for number in wanted}, True
        return found, complete

    # What happens

    def submit(self, conversation: str) -> None:
        self.parts[partition_of(conversation, PARTITIONS)].input.append(conversation)

    def deliver(self, partition: Partition, offset: int, from_log: bool) -> None:
        conversation = partition.input[offset]
        users = list(members_of_valid(conversation))
        begun = (
            Begun(partition.number, users)
            if partition.input.index(conversation) == offset
            else None
        )
        if from_log and self.off == "what is delivered from the log is added":
            begun = None
        if begun is not None and self.off == "what begins is added with the look for routes":
            self._late.append(begun)
            begun = None
        found = now_or_never(self.redis.lookup(users, begun))
        self.told.add(conversation)
        for user, routes in found.items():
            for device in self.devices:
                if (
                    device.online
                    and device.user == user
                    and device.name in {name for name, _ in routes}
                ):
                    device.knows.add(conversation)

    def add_late(self) -> None:
        for begun in self._late:
            self.directory.add(begun)
        self._late.clear()

    def wipe(self) -> None:
        self.redis = self._new_redis()
        self._routes_are_lost()

    def begin_anew(self) -> None:
        """Redis is killed, and comes back with the file of some time ago."""
        run = self.directory.run
        self.redis = copy.deepcopy(self.older)
        self.directory.run = run if self.off == "another life of Redis knows nobody" else f"{run}+"
        self._routes_are_lost()

    def _routes_are_lost(self) -> None:
        for device in self.devices:
            device.routed = False

    def hold(self) -> None:
        """The node writes the routes of its sessions, and tells them to ask (R15); so does a
        device's hello."""
        for device in self.devices:
            if device.online and not device.routed:
                now_or_never(
                    self.redis.write_routes([Route(device.user, device.name, "node", 0, 0)])
                )
                device.routed = True
                device.owes_sync = device.owes_sync or not device.asked_early
                device.asked_early = False

    def connect(self, device: Device) -> None:
        if not device.online:
            device.online = True
            device.owes_sync = device.asked_early = self.off == "a route comes before the question"

    def disconnect(self, device: Device) -> None:
        """The node takes its route back, or dies first."""
        if self.chance.random() < 0.7:
            now_or_never(self.redis.remove_routes([Route(device.user, device.name, "node", 0, 0)]))
        device.online = device.routed = device.owes_sync = False
        self.leave(device)

    def leave(self, device: Device) -> None:
        """What asks for the device dies."""
        if device.syncing is not None:
            device.syncing.close()
            device.syncing = None
            device.owes_sync = True

    def sync(self, device: Device) -> None:
        """The next step of a sync, or the first of one that is owed."""
        if device.syncing is None:
            if not device.owes_sync or not device.online:
                return
            device.owes_sync = False
            device.syncing = self.ranges.heads(device.user, Sync(1, {}))
        try:
            device.syncing.send(None)
        except StopIteration as done:
            device.knows |= done.value.heads.keys()
            device.owes_sync = device.owes_sync or done.value.pending
            device.syncing = None

    def check(self) -> None:
        """Whatever is left out when a user is asked about has told the user's devices nothing
        yet."""
        for user in USERS:
            known = self.directory.known(user)
            if known is None:
                continue
            for conversation in self.told:
                if (
                    user in members_of_valid(conversation)
                    and partition_of(conversation, PARTITIONS) not in known
                ):
                    raise Fault(f"{user} is not asked about for {conversation}")


def history(chance: random.Random, off: str = "", steps: int = 300) -> World:
    """One history, and everything that must hold in it and after it. Raises Fault."""
    world = World(chance, off)

    def worker() -> Worker:
        partition = chance.choice(world.parts)
        return chance.choice([partition.owner, partition.owner, *partition.others])

    def older() -> None:
        world.older = copy.deepcopy(world.redis)

    moves: list[tuple[int, Callable[[], None]]] = [
        (4, lambda: world.submit(chance.choice(CONVERSATIONS))),
        (12, lambda: worker().fold()),
        (12, lambda: worker().deliver()),
        (12, lambda: worker().land()),
        (4, lambda: worker().commit()),
        (2, lambda: chance.choice(world.parts).take_over(chance.random() < 0.5)),
        (40, lambda: world.sync(chance.choice(world.devices))),
        (4, lambda: world.connect(chance.choice(world.devices))),
        (2, lambda: world.disconnect(chance.choice(world.devices))),
        (1, lambda: world.leave(chance.choice(world.devices))),
        (6, world.hold),
        (1, world.wipe),
        (2, older),
        (1, world.begin_anew),
        (1, world.add_late),
    ]
    weights, acts = zip(*moves, strict=True)
    for _ in range(chance.randint(20, steps)):
        chance.choices(acts, weights)[0]()
        world.check()
    come_to_rest(world)
    return world


def come_to_rest(world: World) -> None:
    """All is delivered and asked; then every device knows every conversation of its user, and so
    does one that is new."""
    world.faulty = False
    world.add_late()
    for device in world.devices:
        world.connect(device)
    for round_ in range(2):
        for partition in world.parts:
            for _ in range(len(partition.input) * 3 + 1):
                partition.owner.fold()
                partition.owner.deliver()
                partition.owner.land()
        world.hold()
        for device in world.devices:
            while device.owes_sync or device.syncing is not None:
                world.sync(device)
        world.check()
        for device in world.devices:
            wanted = {
                name
                for name in CONVERSATIONS
                if device.user in members_of_valid(name) and name in world.told
            }
            for name in wanted - device.knows - (world.unsure if round_ == 0 else set()):
                raise Fault(f"{device.user}'s {device.name} does not know {name}")
            device.owes_sync, device.knows = True, set()  # from now on one that knows nothing
    asked = world.whereabouts.asked_everywhere
    for device in world.devices:
        while device.owes_sync or device.syncing is not None:
            world.sync(device)
    if world.whereabouts.asked_everywhere != asked:
        raise Fault("a user whom nothing happened to is asked for everywhere again")
