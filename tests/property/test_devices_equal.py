"""Live, resumed and cold-started devices end equal: each shows 1, 2, 3 … of every conversation as
the log has it, the same marks, the same unread messages, and who is there.

Real are the client of the SDK, the gateway's session, hub, receipts, presence and questions, the
cursors' and the presence stage's partitions, the fold and its answers; see gateways.py, workers.py
and device.py for what is between them.
"""

import itertools
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import agents.cursors.partition
import agents.presence.partition
from schemas.topics import RECEIPTS
from tests.harness.in_step import Marks, Shown, Truth, raise_marks
from tests.harness.people import ACCIDENTS, PEOPLE, USERS, People, Step, history
from tests.property.device import LineClient
from tests.property.gateways import Node
from tests.property.outside import STAGES, World
from tests.property.quiet_loop import QuietLoop
from tests.property.tables import DISKS, MemoryCursors, MemoryPresence
from tests.property.workers import Crew

MAX_ROUNDS = 2000
MOST_HISTORIES = 3000
PEACE_SECONDS = 14.0
"""A lease, the grace of who vanishes, and of a node that is gone: without anything to do for so
long, nothing will happen."""
MOVED = {
    "flow": 20,
    "rest": 2,
    "sequence": 3,
    "fold": 4,
    "deliver again": 1,
    "hold": 2,
    "wait": 2,
    "sleep worker": 1,
}
KINDS = {**PEOPLE, **ACCIDENTS, **MOVED}
RULES: dict[str, dict[str, int]] = {
    "devices are told to ask again": {},
    "routes are written again": {},
    "a welcomed device asks": {},
    "what begins is added": {"send": 12, "flow": 20},
    "heads tell what is under way": {
        **dict.fromkeys(KINDS, 0),
        "send": 8,
        "drop": 8,
        "sequence": 8,
        "flow": 20,
        "rest": 2,
    },
    "what is owed is delivered again": {"kill worker": 12, "sequence": 12},
    "an owner claims before it looks for routes": {"sleep worker": 3},
    "what the server does not know is said again": {},
    "a mark that equals is told again": {"kill worker": 12, "read": 12},
    "who writes has read": {},
    "a new owner reads what was kept": {},
    "who is here is said again": {"empty redis": 4, "rest": 4, "wait": 8},
    "users of a node that is gone go": {},
    "watching is written down first": {},
    "who watches asks again": {
        **dict.fromkeys(KINDS, 0),
        "send": 10,
        "rest": 4,
        "end": 3,
        "empty redis": 4,
        "flow": 5,
        "fold": 20,
    },
}
"""Switched off one by one, with what should happen more often then, for the fault to be found
soon."""


@pytest.fixture(autouse=True)
def tables(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(agents.cursors.partition, "CursorTable", MemoryCursors)
    monkeypatch.setattr(agents.presence.partition, "PresenceTable", MemoryPresence)
    yield
    DISKS.clear()


class Messenger:
    """Two gateways, a worker of each stage, and people. Close it."""

    def __init__(self, off: str = "") -> None:
        self.loop = QuietLoop()  # type: ignore[abstract]
        self.loop.begin()
        self.world = World(self.loop, off)
        self.crew = Crew(self.world)
        self.older = self.world.redis.empty
        self.made = 2
        self.nodes = [Node(self.world, f"node{number}") for number in range(2)]
        self.folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").exists() else None))
        ids = itertools.count(1)

        def make(user: str, device: str, folder: Path | None) -> LineClient:
            return LineClient(user, device, folder, lambda: f"{next(ids):032x}", off)

        self.people = People(USERS, self.folder, make, lambda client: client.connection.lost())  # type: ignore[attr-defined]
        self.loop.finish(self.people.come())
        self.come_to_rest()
        assert all(client.device.begun for client in self.clients)

    def close(self) -> None:
        try:
            self.loop.finish(self.people.end())
            for node in self.nodes:
                node.kill()
            self.crew.close()
        finally:
            self.loop.end()
            shutil.rmtree(self.folder)

    @property
    def clients(self) -> list[LineClient]:
        """Of those who are here."""
        return [device.client for device in self.people.here]  # type: ignore[misc]

    def do(self, step: Step) -> None:
        kind, place, number = step
        node, world, crew = self.nodes[place % len(self.nodes)], self.world, self.crew
        if kind in PEOPLE:
            self.loop.finish(self.people.do(step))
        elif kind == "flow":
            self.flow(random.Random(place), 1 + number % 60)
        elif kind == "rest":
            self.come_to_rest(0.0)
        elif kind == "kill gateway":
            node.kill()
            self.made += 1
            self.nodes[place % len(self.nodes)] = Node(world, f"node{self.made}")
        elif kind == "empty redis":
            world.redis.restart(world.redis.empty)
        elif kind == "older redis":
            world.redis.restart(self.older)
            self.older = world.redis.saved()
        elif kind in ("kill worker", "sleep worker"):
            disk, stage = ("", "earlier", "last")[number % 3], STAGES[place % 3]
            crew.replace(stage, number % 4, disk, asleep=kind == "sleep worker")
        elif kind == "sequence":
            crew.sequencer.fold(1 + place % 5)
            for wanted, move in (
                (number % 2, crew.sequencer.deliver),
                (number % 3, crew.sequencer.land),
            ):
                for _ in range(1 + place % 5 if wanted else 0):
                    move()
        elif kind == "fold":
            node.end_lines()
            self.loop.advance(0.01)
            worker = (crew.cursors, crew.presence)[place % 2]
            worker.intake(5)
            for _ in range(number % 4):
                worker.acknowledge(1)
        elif kind == "deliver again":
            crew.sequencer.deliver_again(1 + number % 4)
        elif kind == "hold":
            self.hold(node)
        elif kind == "wait":
            self.wait((0.1, 1.0, 6.0)[number % 3])

    def connect(self, chance: random.Random) -> None:
        waiting, ready = (
            [client for client in self.clients if client.connection.waits],
            [node for node in self.nodes if node.ready],
        )
        if waiting and ready:
            chance.choice(waiting).connection.connect(chance.choice(ready).connect())
            self.loop.run_ready()

    def receive(self, client: LineClient) -> None:
        client.connection.receive()
        self.loop.run_ready()

    def wait(self, seconds: float) -> None:
        """Time passes, in which the gateways do nothing."""
        for _ in range(1 + int(seconds * 2)):
            self.loop.advance(min(seconds, 0.5))
            self.crew.presence.look()

    def hold(self, node: Node) -> None:
        """What happens now and then."""
        if node.alive:
            node.hold()
        self.loop.finish(self.crew.keep_claims())
        self.crew.presence.look()

    def flow(self, chance: random.Random, steps: int) -> None:
        """Things take their way, some faster than others."""
        speeds = chance.choices((0.02, 1, 4), k=len(MOVES))
        for move in chance.choices(MOVES, speeds, k=steps):
            move(self, chance)

    def come_to_rest(self, peace: float = PEACE_SECONDS) -> None:
        """Everything goes its way until nothing is left to be done, for as long as `peace`."""
        chance, crew, quiet = random.Random(0), self.crew, 0.0
        for _ in range(MAX_ROUNDS):
            for node in self.nodes:
                self.hold(node)
            self.loop.run_ready()
            for device in self.people.here:
                self.connect(chance)
                device.look_around()
            for node in self.nodes:
                node.read_devices()
                node.greet()
                node.end_lines()
                while node.asked:
                    asked = node.asked.pop(0)
                    asked.find()
                    while not asked.found and crew.sequencer.busy:
                        self.sequence()
                    asked.arrive()
                node.take_deliveries(1000)
            self.sequence()
            for worker in (crew.cursors, crew.presence):
                worker.intake(1000)
                worker.acknowledge(1000)
            for client in self.clients:
                self.receive(client)
            if (
                crew.busy
                or any(client.busy for client in self.clients)
                or any(node.busy for node in self.nodes)
            ):
                quiet = 0.0
                self.loop.advance(0.2)
            elif quiet < peace:
                quiet += 1.0
                self.loop.advance(1.0)
            else:
                assert not self.loop.faults, self.loop.faults
                return
        raise AssertionError("it does not come to rest")

    def sequence(self) -> None:
        sequencer = self.crew.sequencer
        sequencer.fold(1000)
        while sequencer.busy:
            sequencer.deliver()
            sequencer.land()
        sequencer.commit()

    def finish(self) -> None:
        """Who is away is seen to be away; then all come back, and everybody has a new device,
        too."""
        self.come_to_rest()
        self.check()
        self.loop.finish(self.people.all_come_back())
        self.come_to_rest()
        self.check()

    def truth(self) -> Truth:
        log = {
            conversation: [
                Shown(item.seq, item.sender, item.key.hex(), item.body) for item in items
            ]
            for conversation, items in self.world.messages().items()
        }
        marks: dict[tuple[str, str], Marks] = {}
        for record in self.world.kafka.read(RECEIPTS, 0, 0, 10**6):
            raise_marks(marks, record.value)
        return Truth(log, marks, self.people.online())

    def check(self) -> None:
        wrong = self.people.wrong(self.truth())
        assert not wrong, "\n".join(wrong)


Move = Callable[[Messenger, random.Random], object]


def _node(move: Callable[[Node, random.Random], object]) -> Move:
    def moved(messenger: Messenger, chance: random.Random) -> None:
        node = chance.choice(messenger.nodes)
        if node.alive:
            move(node, chance)

    return moved


def _ask(messenger: Messenger, chance: random.Random) -> None:
    """A question goes on: to the worker, or back to its node; or no worker can be asked."""
    node = chance.choice(messenger.nodes)
    if node.asked:
        asked = chance.choice(node.asked)
        if not asked.found and chance.random() < 0.8:
            asked.find()
        else:
            node.asked.remove(asked)
            asked.arrive()


MOVES: list[Move] = [
    lambda m, chance: chance.choice(m.people.devices).look_around(),
    lambda m, chance: m.receive(chance.choice(m.people.devices).client),  # type: ignore[arg-type]
    lambda m, chance: m.receive(chance.choice(m.people.devices).client),  # type: ignore[arg-type]
    lambda m, chance: m.connect(chance),
    lambda m, chance: m.crew.sequencer.fold(chance.randint(1, 3)),
    lambda m, chance: m.crew.sequencer.deliver(),
    lambda m, chance: m.crew.sequencer.land(),
    lambda m, chance: m.crew.sequencer.commit(),
    lambda m, chance: chance.choice([m.crew.cursors, m.crew.presence]).intake(chance.randint(1, 3)),
    lambda m, chance: chance.choice([m.crew.cursors, m.crew.presence]).acknowledge(1),
    lambda m, chance: chance.choice([m.crew.cursors, m.crew.presence]).commit(),
    lambda m, chance: m.crew.wake(chance),
    lambda m, chance: m.loop.advance(chance.choice([0.003, 0.1])),
    _node(lambda node, chance: node.read_devices()),
    _node(lambda node, chance: node.read_devices(chance.choice(["", "refuses", "hides"]))),
    _node(lambda node, chance: node.greet()),
    _node(lambda node, chance: node.take_deliveries(chance.randint(1, 3))),
    _node(lambda node, chance: node.end_lines()),
    _ask,
    _ask,
]


def play(steps: list[Step], off: str = "") -> None:
    messenger = Messenger(off)
    try:
        for step in steps:
            messenger.do(step)
        messenger.finish()
    finally:
        messenger.close()


kinds = [kind for kind, weight in KINDS.items() for _ in range(weight)]
numbers = st.integers(0, 999)


@settings(max_examples=settings().max_examples * 2 // 3)
@given(st.lists(st.builds(Step, st.sampled_from(kinds), numbers, numbers), max_size=60))
def test_devices_that_stayed_came_back_or_begin_show_the_same(steps: list[Step]) -> None:
    play(steps)


def test_an_owner_of_presence_that_wakes_up_changes_nothing() -> None:
    """It goes on with an earlier "online", after its successor has kept the later "offline"; the
    next owner has no disk."""
    messenger = Messenger()
    try:
        messenger.do(Step("send", 0, 1))
        messenger.come_to_rest()
        crew, carol = messenger.crew, 4
        earlier = crew.presence
        earlier.commit()
        for number, kind in enumerate(("end", "open", "end")):
            messenger.do(Step(kind, carol, 0))
            messenger.loop.advance(1.0)
            messenger.connect(random.Random(0))
            for node in messenger.nodes * 2:
                node.end_lines()
                node.read_devices()
                node.greet()
            messenger.loop.advance(0.01)
            earlier.intake(1 if number < 2 else 0)
        crew.replace("presence", 0, asleep=True)
        for worker in (crew.presence, earlier):
            worker.intake(10)
            for _ in range(9):
                worker.acknowledge(1)
            crew.presence.commit()
        crew.replace("presence", 0)
        messenger.finish()
    finally:
        messenger.close()


@pytest.mark.skipif(
    os.environ.get("MESSENGER_HYPOTHESIS") != "thorough", reason="takes minutes: in `make chaos`"
)
@pytest.mark.timeout(600)
@pytest.mark.parametrize("rule_off", RULES)
def test_each_rule_is_needed(rule_off: str) -> None:
    """The machine must find a fault when the rule is off, or it proves nothing."""
    for seed in range(MOST_HISTORIES):
        chance = random.Random(seed)
        try:
            play(history(chance, {**KINDS, **RULES[rule_off]}, chance.randint(5, 60)), rule_off)
        except AssertionError:
            return
    pytest.fail(f"{MOST_HISTORIES} histories without {rule_off}, and no fault")
