"""The workers of the model: the fold and its answers, and the real partitions of the cursors and of
presence.

What is under way moves when the test moves it, in whatever order.
"""

import asyncio
import copy
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from agents.cursors.app import marks
from agents.cursors.partition import CursorsPartition
from agents.presence.partition import PresencePartition
from agents.rules.batch import Batch, fold_records
from agents.rules.fanout import begun_in, deliveries, message_frame, users_of
from agents.rules.fold import FoldState
from agents.rules.fold_view import InMemoryFoldView
from agents.sequencer.queries import find_heads
from agents.table_stage.partition import Partition
from connectors.kafka.record import Record
from connectors.redis.memory import MemoryRoutes
from connectors.redis.user_partitions import Begun
from schemas.codec import encode_event, join_frames
from schemas.events import (
    READ,
    RECEIVED,
    SCHEMA_VERSION,
    DeliveryRecord,
    DeviceForgotten,
    Receipt,
    Taken,
)
from schemas.ids import UserId, is_member
from schemas.topics import CURSORS, DELIVERIES, PRESENCE, PRESENCE_SUBMITTED, RECEIPTS, SUBMITTED
from schemas.worker_api import (
    HeadsQuestion,
    HoldingQuestion,
    MarksQuestion,
    PageHead,
    PresenceQuestion,
    SeqsQuestion,
)
from tests.property.outside import SLOTS, Process, World
from tests.property.tables import DISKS, Disk

encode_json = msgspec.json.encode


class Sequencer:
    """An owner of the partition: the fold and its answers. Crashes between its steps are the
    model's of test_sequencing.py."""

    stage = "sequencer"

    def __init__(self, world: World) -> None:
        self.current = True
        self.address = world.address(self.stage, self)
        self._world = world
        known = InMemoryFoldView()
        position, time, version = -1, 0, 1
        self._landed: dict[str, list[Taken]] = defaultdict(list)
        for batch in world.log:
            known.take(batch.outcome.taken)
            self._keep(batch)
            position, time, version = batch.last, batch.time, batch.version
        self._state = FoldState(known, position, time, version)
        self._under_way: list[Batch] = []
        self._delivered = (
            len(world.log) if world.off == "what is owed is delivered again" else world.delivered
        )
        self._moved = asyncio.Event()
        if world.off != "an owner claims before it looks for routes":
            world.loop.finish(world.redis.owners[self.stage].take(0, self.address))

    @property
    def _batches(self) -> list[Batch]:
        return self._world.log + self._under_way

    @property
    def busy(self) -> bool:
        behind = self._state.position + 1 < self._world.kafka.end(SUBMITTED)
        return bool(behind or self._under_way or self._delivered < len(self._world.log))

    def fold(self, most: int) -> None:
        self._under_way += fold_records(
            self._state, self._world.kafka.read(SUBMITTED, 0, self._state.position + 1, most)
        )

    def deliver(self) -> None:
        """The next batch goes to the slots of those who are routed now (R4: it may not have
        landed)."""
        if self._delivered >= len(self._batches):
            return
        outcome = self._batches[self._delivered].outcome
        self._delivered += 1
        users = sorted(users_of(outcome.taken, outcome.answers))
        begun = (
            None if self._world.off == "what begins is added" else Begun(0, begun_in(outcome.taken))
        )
        routes = self._world.loop.finish(self._world.redis.routes.lookup(users, begun))
        for slot, events in deliveries(outcome.taken, outcome.answers, routes).items():
            self._world.kafka.append(
                DELIVERIES, slot, encode_event(DeliveryRecord(SCHEMA_VERSION, list(events)))
            )

    def deliver_again(self, back: int) -> None:
        """A failed delivery: what is not known to be delivered goes out again (R5)."""
        self._delivered = max(0, self._delivered - back)

    def land(self) -> None:
        """The next batch reaches the log."""
        if self._under_way:
            batch = self._under_way.pop(0)
            self._world.log.append(batch)
            self._keep(batch)
            moved, self._moved = self._moved, asyncio.Event()
            moved.set()

    def commit(self) -> None:
        self._world.delivered = max(
            self._world.delivered, min(self._delivered, len(self._world.log))
        )

    def _keep(self, batch: Batch) -> None:
        for item in batch.outcome.taken:
            if item.seq:
                self._landed[item.conversation].append(item)

    # LastSeqs

    def seq(self, conversation: str) -> int:
        return len(self._landed[conversation])

    def conversations(self, user: str, after: str, until: str) -> Iterator[str]:
        names = sorted(
            name for name, items in self._landed.items() if items and is_member(name, UserId(user))
        )
        return (name for name in names if name > after and (not until or name <= until))

    async def answer(
        self, page: str, body: bytes | None, query: Mapping[str, str]
    ) -> tuple[int, bytes]:
        """What the pages of its monitor answer."""
        folded, off = self._state.position, self._world.off == "heads tell what is under way"
        if page == "holding" and folded + 1 < self._world.kafka.end(SUBMITTED):
            return 200, encode_json({})
        while (
            (page == "holding" or not off) and self._under_way and self._under_way[0].last <= folded
        ):
            await self._moved.wait()
        if page == "holding":
            holding = msgspec.json.decode(body or b"", type=HoldingQuestion)
            return 200, encode_json(
                {n: any(self.conversations(holding.user, "", "")) for n in holding.partitions}
            )
        if page == "heads":
            heads = msgspec.json.decode(body or b"", type=HeadsQuestion)
            return 200, encode_json(
                {
                    n: find_heads(self, heads.user, heads.after, heads.until, cursors)
                    for n, cursors in heads.cursors.items()
                }
            )
        if page == "seqs":
            seqs = msgspec.json.decode(body or b"", type=SeqsQuestion).conversations
            return 200, encode_json(
                {n: {c: self.seq(c) for c in names if self.seq(c)} for n, names in seqs.items()}
            )
        items = self._landed[query["conversation"]]
        after, limit = int(query["after"]), int(query["limit"])
        frames = map(message_frame, items[after : after + limit])
        return 200, join_frames([encode_json(PageHead(len(items))), *frames])


class _NewsOnly(CursorsPartition):
    """The rule "a mark that equals is told again" switched off."""

    async def fold(self, facts: Sequence[tuple[Receipt | DeviceForgotten, int, int]]) -> None:
        await super().fold(
            [fact for fact in facts if isinstance(fact[0], Receipt) and self._is_news(fact[0])]
        )

    def _is_news(self, fact: Receipt) -> bool:
        assert self._table is not None
        return (
            self._table.get((fact.conversation, fact.user, READ if fact.read else RECEIVED))[0]
            < fact.seq
        )


class FoldingWorker(Process):
    """A worker of the cursors or of presence: the real partition; `Outside` and its reader are in
    memory."""

    def __init__(self, world: World, stage: str, disk: Disk | None = None) -> None:
        super().__init__(world)
        self.stage = stage
        self.current = True
        self.address = world.address(stage, self)
        self.input, self._kept = (
            (RECEIPTS, CURSORS) if stage == "cursors" else (PRESENCE_SUBMITTED, PRESENCE)
        )
        self._unacknowledged: list[asyncio.Future[None]] = []
        folder = Path(f"{self.address}/{stage}-0")
        DISKS.pop(folder, None)
        if disk is not None:
            DISKS[folder] = copy.deepcopy(disk)
        self._folder, self._earlier = folder, copy.deepcopy(disk)
        self.partition: Partition[Any]
        parts = folder.parent, None, Counter[str](), _go_on
        if stage == "cursors":
            kind = (
                _NewsOnly if world.off == "a mark that equals is told again" else CursorsPartition
            )
            self.partition = kind(0, self, *parts)  # type: ignore[arg-type]
        else:
            self.partition = PresencePartition(0, self, world.redis.watchers, *parts)  # type: ignore[arg-type]
        world.loop.run_ready()

    @property
    def busy(self) -> bool:
        self.healthy()
        done = self.partition.committable
        return bool(self._unacknowledged or done is None or done < self.world.kafka.end(self.input))

    def healthy(self) -> None:
        assert not self.partition.reason, self.partition.reason

    def disk(self, which: str) -> Disk | None:
        return {"": None, "earlier": self._earlier, "last": DISKS[self._folder]}[which]

    def intake(self, most: int) -> None:
        next_offset = self.partition.next_offset
        if next_offset is not None and self.current:
            self.partition.feed(self.world.kafka.read(self.input, 0, next_offset, most))
            self.world.loop.run_ready()

    def acknowledge(self, most: int) -> None:
        """Kafka says of the oldest records that are under way that it has them."""
        done, self._unacknowledged = self._unacknowledged[:most], self._unacknowledged[most:]
        for one in done:
            if not one.done():
                one.set_result(None)
        self.world.loop.run_ready()

    def commit(self) -> None:
        if self.partition.committable is not None:
            self.world.kafka.committed[self.input] = self.partition.committable

    def look(self) -> None:
        """What presence does each half second."""
        if (
            isinstance(self.partition, PresencePartition)
            and self.world.off != "users of a node that is gone go"
        ):
            holders = self.world.loop.finish(self.world.redis.routes.nodes(SLOTS))
            self.world.loop.create_task(self.partition.look(self.world.loop.time(), holders))
            self.world.loop.run_ready()

    def kill(self) -> None:
        self.alive = False
        self.world.loop.create_task(self.partition.close())
        self.world.loop.run_ready()

    async def answer(
        self, page: str, body: bytes | None, query: Mapping[str, str]
    ) -> tuple[int, bytes]:
        """What the pages of its monitor answer."""
        partition = self.partition
        if isinstance(partition, CursorsPartition):
            asked = msgspec.json.decode(body or b"", type=MarksQuestion)
            return 200, encode_json(marks(_OneHere({0: partition}), asked))  # type: ignore[arg-type]
        assert isinstance(partition, PresencePartition)
        users = msgspec.json.decode(body or b"", type=PresenceQuestion).users[0]
        present = partition.presence(users)
        return 200, encode_json({} if present is None else {0: present})

    # Outside

    @property
    def routes(self) -> MemoryRoutes:
        return self.world.redis.routes

    def topic_ids(self) -> Mapping[str, str]:
        return {CURSORS: "id", PRESENCE: "id", PRESENCE_SUBMITTED: "id"}

    def reader(self) -> "FoldingWorker":
        return self

    async def claim(self, partition: int) -> None:
        await self.world.redis.owners[self.stage].take(partition, self.address)

    async def lookup(
        self, users: Sequence[str], waiting: object
    ) -> Mapping[str, Sequence[tuple[str, int]]]:
        return await self.world.redis.routes.lookup(users)

    async def keep(self, topic: str, records: Sequence[tuple[int, bytes, bytes | None]]) -> None:
        acknowledged = self.world.loop.create_future()
        for partition, value, _ in records:
            self.send(topic, partition, value)
        if records:
            self._unacknowledged.append(acknowledged)
            await acknowledged

    async def deliver(self, records: Sequence[tuple[int, bytes]]) -> None:
        await self.keep(DELIVERIES, [(slot, value, None) for slot, value in records])

    # Reader

    def watermarks(self, topic: str, partition: int) -> tuple[int, int]:
        return 0, self.world.kafka.end(topic)

    def committed(self, topic: str, partition: int) -> int | None:
        return self.world.kafka.committed.get(topic)

    def batches(
        self, topic: str, partition: int, start: int, end: int, stopped: object
    ) -> Iterator[list[Record]]:
        if self.world.off == "a new owner reads what was kept":
            return
        for record in self.world.kafka.read(topic, 0, start, end - start):
            yield [record]

    def close(self) -> None: ...


class _OneHere(NamedTuple):
    """A stage, as the pages see it."""

    partitions: dict[int, CursorsPartition]


async def _go_on(partition: int) -> None: ...


class Crew:
    """Who has the partitions now."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.sequencer = Sequencer(world)
        self.cursors = FoldingWorker(world, "cursors")
        self.presence = FoldingWorker(world, "presence")

    def replace(self, stage: str, in_flight: int, disk: str = "", asleep: bool = False) -> None:
        """A worker dies, or sleeps and is thought dead, and another takes over. So many of a
        sequencer's appends that are in flight land all the same; `disk`: what the next folding
        worker finds, "" nothing, "earlier", or "last"."""
        if stage == "sequencer":
            for _ in range(in_flight):
                self.sequencer.land()
            self.sequencer.current = False
            if not asleep:
                del self._world.workers[self.sequencer.address]
            self.sequencer = Sequencer(self._world)
            return
        worker: FoldingWorker = getattr(self, stage)
        worker.current = False
        if not asleep:
            worker.kill()
            del self._world.workers[worker.address]
        setattr(self, stage, FoldingWorker(self._world, stage, worker.disk(disk)))

    async def keep_claims(self) -> None:
        """Who has a partition is awake and sooner than who only wakes up."""
        for worker in sorted(self._world.workers.values(), key=lambda worker: not worker.current):
            await self._world.redis.owners[worker.stage].keep([0], worker.address)

    def wake(self, chance: random.Random) -> None:
        """One that sleeps goes on with what it was doing, and may die then."""
        asleep = [
            worker
            for worker in self._world.workers.values()
            if isinstance(worker, FoldingWorker) and not worker.current
        ]
        if asleep:
            chance.choice(asleep).acknowledge(1)

    @property
    def busy(self) -> bool:
        return any(worker.busy for worker in (self.sequencer, self.cursors, self.presence))

    def close(self) -> None:
        for worker in self._world.workers.values():
            if isinstance(worker, FoldingWorker):
                worker.kill()
