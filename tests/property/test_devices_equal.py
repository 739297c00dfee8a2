"""Live, resumed and cold-started devices end equal: each shows 1, 2, 3 … of every conversation, as the log has it.

Real are the session, the hub and the pusher of the gateway, outbox and timelines of the SDK, the fold and its answers; see
servers.py and device.py for what is between them.
"""

import os
import random
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from tests.property.device import Device, Seen
from tests.property.servers import Node, World

USERS = ("alice", "bob", "carol")
MAX_DEVICES = 10
MAX_ROUNDS = 2000
RULES = [
    "devices are told to ask again",
    "routes are written again",
    "a welcomed device asks",
    "heads tell what is under way",
    "what begins is added",
]

places = st.integers(0, 11)
seeds = st.integers(0, 2**32)


class Messenger(RuleBasedStateMachine):
    off = ""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.off)
        self.nodes = [Node(self.world, f"node{number}") for number in range(2)]
        self.made = 2
        self.sent = 0
        self.ids = 0
        self.devices: list[Device] = []
        for user in USERS:
            for name in ("phone", "tablet") if user != "carol" else ("phone",):
                self.devices.append(self.new_device(user, name))
        self.flow(1, 60)
        self.come_to_rest()
        assert all(device.timelines.begun for device in self.devices)

    def new_id(self) -> str:
        self.ids += 1
        return f"{self.ids:032x}"

    def new_device(self, user: str, name: str) -> Device:
        return Device(user, name, self.new_id, self.off)

    def a_node(self, place: int) -> Node:
        return self.nodes[place % len(self.nodes)]

    def a_device(self, place: int) -> Device:
        return self.devices[place % len(self.devices)]

    @rule(place=places, to=st.integers(0, 1))
    def send(self, place: int, to: int) -> None:
        device = self.a_device(place)
        self.sent += 1
        device.send([user for user in USERS if user != device.user][to], f"message {self.sent}")

    @rule(seed=seeds, steps=st.integers(1, 60))
    def flow(self, seed: int, steps: int) -> None:
        """Things take their way, some faster than others."""
        chance = random.Random(seed)
        for _ in range(steps):
            chance.choice(MOVES)(self, chance)

    @rule(most=st.integers(1, 5), deliver=st.booleans(), land=st.booleans())
    def sequence(self, most: int, deliver: bool, land: bool) -> None:
        sequencer = self.world.sequencer
        sequencer.fold(most)
        for wanted, step in ((deliver, sequencer.deliver), (land, sequencer.land)):
            for _ in range(most if wanted else 0):
                step()

    @rule(back=st.integers(1, 4))
    def deliver_again(self, back: int) -> None:
        self.world.sequencer.deliver_again(back)

    @rule(place=places)
    def disconnect(self, place: int) -> None:
        self.a_device(place).disconnect()

    @rule(place=places, node=places)
    def connect(self, place: int, node: int) -> None:
        device, to = self.a_device(place), self.a_node(node)
        if device.line is None and to.ready:
            device.connected(to.connect())

    @rule()
    def wipe_redis(self) -> None:
        self.world.wipe_redis()

    @rule(place=places)
    def hold(self, place: int) -> None:
        if self.a_node(place).alive:
            self.a_node(place).hold()

    @rule(seconds=st.sampled_from([0.1, 1.0, 6.0]))
    def wait(self, seconds: float) -> None:
        self.world.now += seconds

    @rule(place=places)
    def kill(self, place: int) -> None:
        """A gateway dies, and another takes its place."""
        self.made += 1
        self.a_node(place).kill()
        self.nodes[place % len(self.nodes)] = Node(self.world, f"node{self.made}")

    @rule(place=places, node=places)
    def install(self, place: int, node: int) -> None:
        """A new device of somebody, that knows nothing."""
        if len(self.devices) < MAX_DEVICES:
            device = self.new_device(self.a_device(place).user, f"new{len(self.devices)}")
            self.devices.append(device)
            self.connect(len(self.devices) - 1, node)

    @rule(place=places, node=places)
    def install_again(self, place: int, node: int) -> None:
        """A device has lost its memory, its outbox included, and keeps its name."""
        place %= len(self.devices)
        self.devices[place].disconnect()
        self.devices[place] = self.new_device(self.devices[place].user, self.devices[place].name)
        self.connect(place, node)

    def teardown(self) -> None:
        self.come_to_rest()
        self.check()

    def come_to_rest(self) -> None:
        """Everything goes its way until nothing is left to be done; time passes only when nothing else can."""
        chance = random.Random(0)
        for _ in range(MAX_ROUNDS):
            for node in self.nodes:
                node.hold()
            for number, device in enumerate(self.devices):
                self.connect(number, chance.randrange(2))
                device.tick(self.world.now)
            for node in self.nodes:
                node.read_devices()
                node.greet()
                node.end_lines()
                while node.asked:
                    node.reply(0)
                node.take_deliveries(1000)
            sequencer = self.world.sequencer
            while sequencer.busy:
                sequencer.fold(1000)
                sequencer.deliver()
                sequencer.land()
            for device in self.devices:
                device.receive(self.world.now)
            if not (sequencer.busy or any(part.busy for part in self.devices) or any(part.busy for part in self.nodes)):
                return
            self.world.now += 0.2
        raise AssertionError("it does not come to rest")

    def check(self) -> None:
        log = {
            conversation: [Seen(item.seq, item.sender, item.key.hex(), item.body) for item in items]
            for conversation, items in self.world.sequencer.log.items()
            if items
        }
        for conversation, messages in log.items():
            assert [message.seq for message in messages] == list(range(1, len(messages) + 1)), conversation
        for device in self.devices:
            name = f"{device.user}/{device.name}"
            assert device.unfinished == [], name
            assert all(device.user in conversation.split(":") for conversation in device.shown), name
            for conversation, messages in log.items():
                if device.user in conversation.split(":"):
                    shown = device.shown[conversation]
                    begun = shown[0].seq - 1 if shown else len(messages)
                    assert begun <= max(device.beginning.get(conversation, 0), device.early.get(conversation, 0)), name
                    assert messages[:begun] + shown == messages, f"{name} in {conversation}"


Move = Callable[[Messenger, random.Random], None]


def _node(move: Callable[[Node, random.Random], None]) -> Move:
    def moved(messenger: Messenger, chance: random.Random) -> None:
        node = chance.choice(messenger.nodes)
        if node.alive:
            move(node, chance)

    return moved


MOVES: list[Move] = [
    lambda m, chance: chance.choice(m.devices).tick(m.world.now),
    lambda m, chance: chance.choice(m.devices).receive(m.world.now),
    lambda m, chance: chance.choice(m.devices).receive(m.world.now),
    lambda m, chance: m.connect(chance.randrange(12), chance.randrange(2)),
    lambda m, chance: m.world.sequencer.fold(chance.randint(1, 3)),
    lambda m, chance: m.world.sequencer.deliver(),
    lambda m, chance: m.world.sequencer.land(),
    _node(lambda node, chance: node.read_devices()),
    _node(lambda node, chance: node.read_devices(lambda: chance.random() < 0.3)),
    _node(lambda node, chance: node.greet()),
    _node(lambda node, chance: node.reply(chance.randrange(8), chance.random() < 0.2)),
    _node(lambda node, chance: node.take_deliveries(chance.randint(1, 3))),
    _node(lambda node, chance: node.end_lines()),
]

TestDevicesEqual = Messenger.TestCase


@pytest.mark.skipif(os.environ.get("MESSENGER_HYPOTHESIS") != "thorough", reason="takes minutes: in `make chaos`")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("rule_off", RULES)
def test_each_rule_is_needed(rule_off: str) -> None:
    """The machine must find a fault when the rule is off, or it proves nothing."""

    class WithoutIt(Messenger):
        off = rule_off

    without = settings(max_examples=30_000, phases=[Phase.generate], database=None, suppress_health_check=list(HealthCheck))
    with pytest.raises(AssertionError):
        run_state_machine_as_test(WithoutIt, settings=without)
