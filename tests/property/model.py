"""A random model of one partition: devices, an input, a log, workers that crash, pause, wake and
lose their disk.

The decisions are the real ones (agents/rules); only Kafka and RocksDB are lists and dictionaries
here. `off` switches one rule off, to show that the model notices.
"""

import random
from typing import NamedTuple

from agents.rules.batch import Batch, fold_records
from agents.rules.fold import FoldState, Limits
from agents.rules.fold_view import InMemoryFoldView
from agents.rules.log import Verdict, judge, news
from schemas.codec import encode_event
from schemas.codes import Code
from schemas.events import (
    SCHEMA_VERSION,
    FoldSwitched,
    LogRecord,
    MessageSubmitted,
    RefusalSubmitted,
    Submitted,
    SubmittedRecord,
    Taken,
)

VERSIONS = {1: Limits(max_body=12, forget_after=60), 2: Limits(max_body=6, forget_after=25)}
CONVERSATIONS = ("alice:bob", "alice:carol")


class Input(NamedTuple):
    offset: int
    timestamp: int
    value: bytes


class Fault(AssertionError):
    """The model found a contradiction."""


class Devices:
    """Outboxes that send, repeat, lose, reorder, refuse, are forgotten and begin anew."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._lanes: dict[tuple[str, str, bytes], list[Submitted]] = {}
        self._keys = 0

    def submit(self) -> bytes:
        """The value of one input record."""
        chance = self._chance
        kind = chance.random()
        if kind < 0.04:
            return chance.choice([b"", b"garbage", b"\x92\x01\x91\x91\xa1?"])
        if kind < 0.07:
            return encode_event(
                SubmittedRecord(SCHEMA_VERSION, [FoldSwitched(chance.choice([1, 2, 2]))])
            )
        items: list[Submitted] = []
        for _ in range(chance.randint(1, 4)):
            items += self._some()
        if chance.random() < 0.1:
            chance.shuffle(items)
        return encode_event(SubmittedRecord(SCHEMA_VERSION, items))

    def _some(self) -> list[Submitted]:
        chance = self._chance
        conversation = chance.choice(CONVERSATIONS)
        sender = chance.choice(conversation.split(":"))
        outbox = bytes([chance.randrange(2)]) * 16
        lane = self._lanes.setdefault((conversation, sender, outbox), [])
        kind = chance.random()
        if kind < 0.6:
            self._keys += 1
            head = (
                conversation,
                sender,
                "device",
                outbox,
                len(lane) + 1,
                self._keys.to_bytes(16, "big"),
                0,
            )
            refused = chance.random() < 0.1
            item: Submitted = (
                RefusalSubmitted(*head, Code.BODY_INVALID.number)
                if refused
                else MessageSubmitted(
                    *head, chance.choice(["", "hi", "hello you", "much too long for this"])
                )
            )
            lane.append(item)
            return [item] if chance.random() < 0.9 else []
        if kind < 0.65:
            lane.clear()  # the device lost its outbox, or was told that it is forgotten
            return []
        if kind < 0.7 and lane:
            wrong = chance.choice(lane)
            assert isinstance(wrong, MessageSubmitted | RefusalSubmitted)
            head = conversation, sender, "device", outbox, wrong.ordinal, b"?" * 16, 0
            return [MessageSubmitted(*head, "reused")]
        if lane:
            start = chance.randrange(len(lane))
            return lane[start:] if chance.random() < 0.5 else [lane[start]]
        return []


class Reader:
    """Anybody who folds the log: R2."""

    def __init__(self, off: str = "") -> None:
        self.known = InMemoryFoldView()
        self.position, self.time, self.version, self.log_offset = -1, 0, 1, -1
        self.taken: list[Taken] = []
        self._off = off

    def read(self, log: list[LogRecord]) -> None:
        for record in log[self.log_offset + 1 :]:
            self.log_offset += 1
            if self._off == "R2" or judge(self.position, record) is Verdict.TAKE:
                fresh = record.taken if self._off == "R2" else news(self.position, record)
                self.known.take(fresh)
                self.taken += fresh
                self.position, self.version = max(self.position, record.to), record.fold_version
                self.time = max(self.time, record.time)


class World:
    def __init__(self, chance: random.Random, off: str = "") -> None:
        self.chance = chance
        self.off = off
        self.input: list[Input] = []
        self.log: list[LogRecord] = []
        self.delivered: dict[tuple[str, int], Taken] = {}
        self.devices = Devices(chance)
        self.committed = -1
        self._now = 1000

    def submit(self) -> None:
        self._now += self.chance.randint(-3, 6)
        self.input.append(Input(len(self.input), self._now, self.devices.submit()))

    def deliver(self, taken: list[Taken]) -> None:
        for item in taken:
            if item.seq and self.delivered.setdefault((item.conversation, item.seq), item) != item:
                raise Fault(f"contradiction at {item.conversation}/{item.seq}")


class Worker:
    """An owner of the partition: folds, delivers, appends; what it has folded from the log is its
    disk."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.disk = Reader(world.off)
        self.start()

    def start(self) -> None:
        self.disk.read(self._world.log)
        disk = self.disk
        position = self._world.committed if self._world.off == "R3" else disk.position
        limit = self._world.chance.choice([0, 1, 1000])
        self.state = FoldState(
            disk.known, position, disk.time, disk.version, VERSIONS, max_clean=limit
        )
        self.flying: list[LogRecord] = []
        self.expected = disk.log_offset + 1

    def work(self) -> None:
        """Fold a few records, deliver at once (R4), append."""
        start = self.state.position + 1
        records = self._world.input[start : start + self._world.chance.randint(1, 4)]
        for batch in fold_records(self.state, records):
            if self._world.chance.random() < 0.7:
                self._world.deliver(batch.outcome.taken)
            self.flying.append(batch.log_record(-1))

    def land(self) -> None:
        """The oldest append in flight reaches the log, and its report comes (R6)."""
        if not self.flying:
            return
        world, record = self._world, self.flying.pop(0)
        world.log.append(record)
        self.disk.read(world.log)
        self.flying = [flying for flying in self.flying if flying.to > self.disk.position]
        self.state.folded(self.disk.position)
        if self.disk.position > self.state.position:
            self.start()
        world.committed = max(world.committed, self.disk.position)

    def lose_some_appends(self) -> None:
        """The producer fails for good: a later append may have landed without an earlier one."""
        world = self._world
        if self.flying and world.chance.random() < 0.5:
            world.log.append(self.flying[-1])
            if world.off == "R6":  # takes any good report for that of everything before it
                self.disk.position, self.disk.log_offset = self.flying[-1].to, len(world.log) - 1
                self.disk.known.take(item for record in self.flying for item in record.taken)
                self.flying = []
                return
        self.start()

    def crash(self) -> None:
        """What is in flight may still land, in order, up to some record."""
        for _ in range(self._world.chance.randint(0, len(self.flying))):
            self._world.log.append(self.flying.pop(0))
        if self._world.chance.random() < 0.3:
            self.disk = Reader(self._world.off)

    def catch_up(self) -> None:
        """Fold and append all there is; deliver again what the log says (R5)."""
        self.start()
        while self.state.position + 1 < len(self._world.input):
            self.work()
        while self.flying:
            self.land()
        if self._world.off != "R5":
            self._world.deliver(self.disk.taken)


def history(chance: random.Random, off: str = "", steps: int = 60) -> World:
    """One history, and everything that must hold after it. Raises Fault."""
    world = World(chance, off)
    owner = Worker(world)
    paused: list[Worker] = []
    for _ in range(chance.randint(5, steps)):
        kind = chance.random()
        if kind < 0.35:
            world.submit()
        elif kind < 0.6:
            owner.work()
        elif kind < 0.8:
            owner.land()
        elif kind < 0.86:
            owner.crash()
            owner.start()
        elif kind < 0.9:
            owner.lose_some_appends()
        elif kind < 0.95:
            paused.append(owner)  # it believes it still owns the partition
            owner = Worker(world)
        elif paused:
            woken = paused[chance.randrange(len(paused))]
            for _ in range(chance.randint(1, 4)):
                chance.choice([woken.work, woken.land])()
    owner.catch_up()
    check(world)
    return world


def check(world: World) -> None:
    truth, batches = fold_input(world.input, random.Random(0))
    expected = [item for batch in batches for item in batch.outcome.taken]
    reader = Reader(world.off)
    reader.read(world.log)
    if reader.taken != expected:
        raise Fault("the log is not the fold of the input, number for number")
    if (reader.position, reader.time, reader.version) != (
        truth.position,
        truth.time,
        truth.version,
    ):
        raise Fault("the log's position, time or version is not the input's")
    for conversation in CONVERSATIONS:
        seqs = [item.seq for item in expected if item.conversation == conversation and item.seq]
        if seqs != list(range(1, len(seqs) + 1)):
            raise Fault("not dense")
    if world.delivered != {(i.conversation, i.seq): i for i in expected if i.seq}:
        raise Fault("delivered is not what was numbered")


def fold_input(
    records: list[Input], cuts: random.Random, limit: int = 1000
) -> tuple[FoldState, list[Batch]]:
    """The fold of the whole input from zero, in batches cut at random, known written at random."""
    known = InMemoryFoldView()
    state = FoldState(known, versions=VERSIONS, max_clean=limit)
    batches: list[Batch] = []
    position = 0
    written = 0
    while position < len(records):
        size = cuts.randint(1, 5)
        batches += fold_records(state, records[position : position + size])
        position += size
        if cuts.random() < 0.5:
            for batch in batches[written:]:
                known.take(batch.outcome.taken)
                state.folded(batch.last)
            written = len(batches)
    return state, batches
