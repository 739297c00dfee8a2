"""The fold against the table of the architecture, written down a second time: slow, plain, and
without a line of agents/rules.

The model of this folder shows that all readers agree with each other; this shows that they agree on
what was asked for.
"""

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from agents.rules.batch import fold_records
from agents.rules.fold import FoldState, Outcome, OutOfStep, Repeat
from schemas.events import Changed, LogRecord
from tests.property.model import VERSIONS, Input, Reader, fold_input

WINDOW = 64
CHANGED = Changed(3, b"c" * 16, 1000)
NAMES = [
    ("alice:bob", "alice"),
    ("alice:bob", "bob"),
    ("alice:carol", "alice"),
    ("alice:bob", "mallory"),
    ("bob:alice", "bob"),
]


class Lane:
    """What the specification keeps of one (conversation, sender, outbox)."""

    def __init__(self) -> None:
        self.last, self.time = 0, 0
        self.answers: dict[int, tuple[bytes, int, int, int]] = {}


class Spec:
    """fold(state, submitted message, its log time) -> new state, answer."""

    def __init__(self) -> None:
        self.time, self.version = 0, 1
        self.seqs: dict[str, int] = {}
        self.lanes: dict[tuple[str, str, bytes], Lane] = {}
        self.taken: list[tuple[Any, ...]] = []
        self.answers: list[tuple[Any, ...]] = []
        self.dead: list[tuple[int, int, int]] = []

    def record(self, offset: int, broker_time: int, items: Sequence["Item"]) -> None:
        self.time = max(self.time, broker_time)
        for place, item in enumerate(items):
            self._item(offset, place, item)

    def control(self, offset: int, broker_time: int, version: int) -> None:
        self.time = max(self.time, broker_time)
        if version < self.version:
            self.dead.append((offset, 0, 117))
        else:
            self.version = version

    def next(self, conversation: str, sender: str, outbox: bytes) -> int:
        lane = self.lanes.get((conversation, sender, outbox))
        return lane.last + 1 if lane else 1

    def _item(self, offset: int, place: int, item: "Item") -> None:
        if item.kind in ("unreadable", "change unreadable"):
            self.dead.append((offset, place, 114))
            return
        if item.kind == "body unreadable":
            self.dead.append((offset, place, 114))
        users = item.conversation.split(":")
        if users != sorted(users) or item.sender not in users:
            self.dead.append((offset, place, 113))
            return
        lane = self.lanes.setdefault((item.conversation, item.sender, item.outbox), Lane())
        max_body, forget_after = VERSIONS[self.version]
        last = lane.last if self.time - lane.time <= forget_after else 0
        if item.ordinal > last + 1:
            self.answers.append(("out of step", item.ordinal, last + 1, "gap"))
        elif item.ordinal <= last - WINDOW:
            self.answers.append(("out of step", item.ordinal, last + 1, "too_old"))
        elif item.ordinal <= last:
            key, seq, code, time = lane.answers[item.ordinal]
            if key == item.key:
                self.answers.append(("repeat", item.ordinal, key, seq, code, time))
            else:
                self.answers.append(("out of step", item.ordinal, last + 1, "reused"))
        else:
            code = 0
            if item.kind == "refusal":
                code = 112
            elif item.kind == "body unreadable":
                code = 114
            elif not item.body and item.kind != "change":
                code = 110
            elif len(item.body.encode()) > max_body:
                code = 111
            seq = 0
            if not code:
                seq = self.seqs[item.conversation] = self.seqs.get(item.conversation, 0) + 1
            lane.last, lane.time = item.ordinal, self.time
            lane.answers[item.ordinal] = item.key, seq, code, self.time
            head = (
                offset,
                self.time,
                item.conversation,
                item.sender,
                item.outbox,
                item.ordinal,
                item.key,
            )
            changes = CHANGED if item.kind == "change" and not code else None
            self.taken.append((*head, seq, code, "" if code else item.body, changes))


class Item(NamedTuple):
    kind: str
    conversation: str
    sender: str
    outbox: bytes
    ordinal: int
    key: bytes
    body: str

    def value(self) -> object:
        """As msgpack's parts."""
        head = self.conversation, self.sender, "phone", self.outbox, self.ordinal, self.key, 0
        match self.kind:
            case "message":
                return [0, *head, self.body]
            case "message of newer code":
                return [0, *head, self.body, "a field that we do not know"]
            case "change":
                return [5, *head, self.body, [CHANGED.seq, CHANGED.key, CHANGED.time, "new"]]
            case "change unreadable":
                return [5, *head, self.body, [0, CHANGED.key, CHANGED.time]]
            case "refusal":
                return [1, *head, 112]
            case "body unreadable":
                return [0, *head, 5]
            case _:
                return [0, "alice:bob", 7]


class Step(NamedTuple):
    """Drawn; becomes items by what the specification's outbox had reached."""

    name: tuple[str, str]
    outbox: bytes
    delta: int
    life: int
    kind: str
    body: str
    length: int

    def items(self, spec: Spec, ahead: dict[tuple[str, str, bytes], int]) -> list[Item]:
        lane = *self.name, self.outbox
        start = max(1, spec.next(*lane) + ahead.get(lane, 0) + self.delta)
        ahead[lane] = ahead.get(lane, 0) + (self.length if self.delta == 0 else 0)
        return [
            Item(
                self.kind,
                *self.name,
                self.outbox,
                n,
                n.to_bytes(8, "big") + bytes([self.life]) * 8,
                self.body,
            )
            for n in range(start, start + self.length)
        ]


weighted = st.sampled_from
steps = st.builds(
    Step,
    name=weighted([*NAMES[:3] * 4, *NAMES[3:]]),
    outbox=weighted([b"p" * 16, b"q" * 16]),
    delta=weighted([0, 0, 0, 0, -1, -2, 1, -63, -64, -65, -1000]),
    life=weighted([0, 0, 0, 1]),
    kind=weighted(
        [
            *["message"] * 8,
            *["change"] * 2,
            *("refusal", "message of newer code"),
            *("body unreadable", "change unreadable", "unreadable"),
        ]
    ),
    body=weighted(["hi", "hi", "hi", "", "exactly 12 b", "more than 12 b", "six by", "äöü äöü"]),
    length=weighted([1, 1, 1, 1, 2, 3, 70]),
)
_FORGOTTEN = [limits.forget_after for limits in VERSIONS.values()]
records = st.lists(
    st.tuples(
        st.one_of(st.integers(-5, 40), st.integers(-5, 40), weighted(_FORGOTTEN)),
        st.one_of(
            st.lists(steps, max_size=3),
            st.lists(steps, max_size=3),
            weighted([1, 2]),
            weighted([b"", b"garbage"]),
        ),
    ),
    min_size=1,
    max_size=14,
)
History = list[tuple[int, list[Step] | int | bytes]]


def write(history: History) -> tuple[list[Input], Spec]:
    """The input of a history, and what the specification makes of it."""
    spec, inputs, now = Spec(), [], 1000
    for offset, (pause, content) in enumerate(history):
        now += pause
        if isinstance(content, int):
            value = msgspec.msgpack.encode([1, [[2, content]]])
            spec.control(offset, now, content)
        elif isinstance(content, bytes):
            value = content
            spec.record(offset, now, [])
            spec.dead.append((offset, -1, 115))
        else:
            ahead: dict[tuple[str, str, bytes], int] = {}
            items = [item for step in content for item in step.items(spec, ahead)]
            value = msgspec.msgpack.encode(
                [1, [item.value() for item in items], "a field that we do not know"]
            )
            spec.record(offset, now, items)
        inputs.append(Input(offset, now, value))
    return inputs, spec


def compare(outcomes: Sequence[Outcome], spec: Spec) -> None:
    taken: list[tuple[Any, ...]] = []
    answers: list[tuple[Any, ...]] = []
    dead: list[tuple[int, int, int]] = []
    for outcome in outcomes:
        for t in outcome.taken:
            head = t.offset, t.time, t.conversation, t.sender, t.outbox, t.ordinal, t.key
            taken.append((*head, t.seq, t.code, t.body, t.changes))
        for answer in outcome.answers:
            match answer:
                case Repeat(item, given_):
                    answers.append(
                        ("repeat", item.ordinal, given_.key, given_.seq, given_.code, given_.time)
                    )
                case OutOfStep(item, next_, reason):
                    answers.append(("out of step", item.ordinal, next_, reason))
        dead += [(letter.offset, letter.place, letter.code.number) for letter in outcome.dead]
    assert taken == spec.taken
    assert answers == spec.answers
    assert dead == spec.dead


@given(records, st.integers(0, 2**32), weighted([0, 1, 1000]))
def test_the_fold_is_what_the_architecture_says(history: History, seed: int, limit: int) -> None:
    """Whatever the cuts, whatever is evicted, whenever the state is written."""
    inputs, spec = write(history)
    state, batches = fold_input(inputs, random.Random(seed), limit)
    compare([batch.outcome for batch in batches], spec)
    assert (state.position, state.time, state.version) == (len(inputs) - 1, spec.time, spec.version)


@given(records, st.randoms(use_true_random=False), weighted([0, 1000]))
def test_a_state_rebuilt_from_the_log_answers_the_same(
    history: History, chance: random.Random, limit: int
) -> None:
    """Not only the numbers: repeats, gaps and what is reused are answered alike by a worker that
    has only the log."""
    inputs, spec = write(history)
    log: list[LogRecord] = []
    outcomes: list[Outcome] = []
    position = 0
    while position < len(inputs):
        reader = Reader()
        reader.read(log)
        state = FoldState(
            reader.known, reader.position, reader.time, reader.version, VERSIONS, limit
        )
        size = chance.randint(1, 5)
        for batch in fold_records(state, inputs[position : position + size]):
            outcomes.append(batch.outcome)
            log.append(batch.log_record(-1))
        position += size
    compare(outcomes, spec)
