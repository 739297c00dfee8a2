"""Receipts and what is unread, whatever is lost, repeated or folded again: devices that stayed, came back, or have just begun
show the same, and to nobody is unread what they wrote."""

import itertools
from collections.abc import Iterable

from hypothesis import example, given
from hypothesis import strategies as st

from agents.rules import cursors
from messenger_sdk.marks import MarkBook
from schemas.events import Receipt
from schemas.frames import Mark, Marks, Message, Read, Received
from schemas.ids import members_of_valid
from tests.property.test_marks_and_presence import Cursors

A = "alice:bob"


class Device:
    """`up` and `down` are on their way; `routed`: deliveries find it; `shown`: messages it has shown, or that are history."""

    def __init__(self, user: str, name: str, shown: int = 0) -> None:
        self.user = user
        self.name = name
        self.shown = shown
        self.book = MarkBook(lambda: 0.0, itertools.count(2))
        self.book.user = user
        self.online = self.routed = True
        self.up: list[Received | Read] = []
        self.down: list[Mark | Marks | Message] = []

    def drop(self) -> None:
        self.online = self.routed = False
        self.up, self.down = [], []

    def marks(self) -> tuple[int, int, int]:
        """What the other user has received and read, and what this one has read."""
        other = next(user for user in members_of_valid(A) if user != self.user)
        mark = self.book.mark(A, other)
        return mark.received, mark.read, self.book.read_up_to(A)


class World:
    """Two devices of two users, their gateways, and the cursors' worker."""

    def __init__(self) -> None:
        self.devices = [Device(user, name) for user in members_of_valid(A) for name in ("phone", "tablet")]
        self.log: list[str] = []
        """The sender of each message."""
        self.input: list[Receipt] = []
        self.at = self.committed = 0
        self.known = Cursors()
        for device in self.devices:
            self.begin(device)

    def begin(self, device: Device) -> None:
        """Welcomed, or told to ask again."""
        device.online = device.routed = True
        device.down += [self.message(seq) for seq in range(device.shown + 1, len(self.log) + 1)]
        device.book.begin([A], 0)
        self.ask(device)

    def message(self, seq: int) -> Message:
        return Message(A, seq, self.log[seq - 1], "", 0, "")

    def write(self, writer: Device) -> None:
        """A message, sequenced and delivered; what is written offline is numbered when its device is back, so no sooner."""
        if writer.online:
            self.log.append(writer.user)
            for device in self.devices:
                if device.routed:
                    device.down.append(self.message(len(self.log)))

    def ask(self, device: Device) -> None:
        question = device.book.question(1e9)
        if question is not None:
            found = [cursors.mark_of(self.known, A, user) for user in members_of_valid(A)]
            device.down.append(Marks(question.id, [mark for mark in found if mark.received]))

    def say(self, device: Device) -> None:
        said = device.book.receipts()  # whatever becomes of it
        device.up += said if device.online else []

    def carry(self, device: Device, times: int = 1) -> None:
        for frame in device.up[:1] * times:
            self.input.append(Receipt(A, device.user, device.name, frame.seq, isinstance(frame, Read)))
        del device.up[:1]

    def take(self, device: Device) -> None:
        for frame in device.down[:1]:
            if isinstance(frame, Marks):
                device.book.answer(frame, 0)
                self.ask(device)
            elif isinstance(frame, Message):
                if frame.seq == device.shown + 1:
                    device.shown = frame.seq
                    device.book.shown(frame)
            else:
                device.book.take(frame)
        del device.down[:1]

    def fold(self, count: int, dies: bool = False) -> None:
        """`dies`: before anything is told."""
        told = self.known.fold_and_tell(self.input[self.at : self.at + count])
        self.at = self.committed if dies else min(self.at + count, len(self.input))
        if dies:
            return
        for (conversation, user), own in told.items():
            mark = cursors.mark_of(self.known, conversation, user)
            for device in self.devices:
                if device.routed and (own or device.user != user):
                    device.down.append(mark)

    def settle(self) -> None:
        """Everybody is there, and nothing is on its way."""
        for device in self.devices:
            if not device.routed:
                self.begin(device)
        for _ in range(20):
            for device in self.devices:
                self.say(device)
                while device.up:
                    self.carry(device)
            self.fold(len(self.input))
            for device in self.devices:
                while device.down:
                    self.take(device)


which, seqs = st.integers(0, 3), st.integers(1, 9)
steps = st.one_of(
    st.tuples(st.sampled_from(["received", "read"]), which, seqs),
    st.tuples(st.sampled_from(["write", "say", "carry", "repeat", "take", "drop", "begin", "lose route"]), which, st.just(0)),
    st.tuples(st.sampled_from(["fold", "commit", "die"]), st.just(0), st.integers(1, 4)),
)


def run(world: World, history: Iterable[tuple[str, int, int]]) -> None:
    for step, index, number in history:
        device = world.devices[index]
        if step == "received":
            device.book.received(A, number)
        elif step == "read":
            device.book.read(A, number)
        elif step == "write":
            world.write(device)
        elif step == "say":
            world.say(device)
        elif step in ("carry", "repeat"):
            world.carry(device, 1 + (step == "repeat"))
        elif step == "take":
            world.take(device)
        elif step == "drop":
            device.drop()
        elif step == "begin" and not device.routed:
            world.begin(device)
        elif step == "lose route":  # Redis was emptied; `begin` is the resync
            device.routed = False
        elif step in ("fold", "die"):
            world.fold(number, step == "die")
        elif step == "commit":
            world.committed = world.at


@example([("received", 2, 5), ("say", 2, 0), ("carry", 2, 0), ("die", 0, 4)])
@example([("read", 2, 5), ("say", 2, 0), ("drop", 2, 0)])
@example([("write", 0, 0), ("take", 0, 0), ("say", 0, 0), ("drop", 0, 0), ("write", 2, 0)])
@given(st.lists(steps, min_size=10, max_size=60))
def test_devices_that_stayed_came_back_or_begin_show_the_same(history: list[tuple[str, int, int]]) -> None:
    world = World()
    run(world, history)
    world.settle()
    wrote = {
        user: max((seq for seq, sender in enumerate(world.log, 1) if sender == user), default=0) for user in members_of_valid(A)
    }
    claims = {
        (user, kind): max(
            wrote[user],
            *(number for step, index, number in history if step in kinds and world.devices[index].user == user),
            0,
        )
        for user in members_of_valid(A)
        for kind, kinds in (("received", ("received", "read")), ("read", ("read",)))
    }
    world.devices += [Device(user, "new", len(world.log)) for user in members_of_valid(A)]
    for device in world.devices[4:]:
        device.routed = False
    world.settle()
    for device in world.devices:
        other = next(user for user in members_of_valid(A) if user != device.user)
        wanted = claims[other, "received"], claims[other, "read"], claims[device.user, "read"]
        assert device.marks() == wanted, f"{device.user}/{device.name}"
        assert device.user not in world.log[device.book.read_up_to(A) :], "what one wrote is unread nowhere"
