"""The judge's fold against the sequencer's: they agree on random inputs, and no longer if one line
of either is changed. They share no code (pyproject.toml forbids it), so what both get wrong alike,
two people would have got wrong alike."""

import importlib.util
import random
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import msgspec
import pytest
from hypothesis import Phase, example, find, given, settings
from hypothesis import strategies as st

import agents.rules.fold
import ops.audit.fold
import ops.audit.submitted
from agents.rules.batch import fold_records
from agents.rules.fold_view import InMemoryFoldView
from ops.audit.submitted import NewerRecord
from schemas.codec import NewerVersion
from schemas.events import Taken
from tests.property.model import VERSIONS, Input
from tests.property.test_fold_spec import History, records, write

LIMITS = {
    version: ops.audit.fold.Limits(body=one.max_body, silence=one.forget_after)
    for version, one in VERSIONS.items()
}
Folded = tuple[list[Taken], int] | str
"""What an input record takes, and how many of its items are set aside; or "newer"."""


def by_the_sequencer(
    inputs: list[Input], fold: ModuleType = agents.rules.fold, skipped: Collection[int] = ()
) -> list[Folded]:
    """What each record takes, if an operator sets the offsets `skipped` aside."""
    view = InMemoryFoldView()
    state = fold.FoldState(view, versions=VERSIONS)
    found: list[Folded] = []
    for record in inputs:
        try:
            (batch,) = fold_records(state, [record], skipped.__contains__)
        except NewerVersion:
            return [*found, "newer"]
        view.take(batch.outcome.taken)
        state.folded(batch.last)
        found.append((batch.outcome.taken, len(batch.outcome.dead)))
    return found


def by_the_judge(
    inputs: list[Input], fold: ModuleType = ops.audit.fold, skipped: Collection[int] = ()
) -> list[Folded]:
    state = fold.SecondFold()
    found: list[Folded] = []
    for record in inputs:
        before, taken = state.set_aside, list[Taken]()
        value = record.value or b""
        try:
            if record.offset in skipped:
                state.skip(record.offset, value, LIMITS.get)
            else:
                taken = state.record(record.offset, record.timestamp, value, LIMITS.get)
        except NewerRecord:
            return [*found, "newer"]
        found.append((taken, state.set_aside - before))
    return found


@given(records, st.sets(st.integers(0, 13), max_size=3))
def test_both_folds_take_the_same(history: History, skipped: set[int]) -> None:
    inputs, _ = write(history)
    ours = by_the_judge(inputs, skipped=skipped)
    assert ours == by_the_sequencer(inputs, skipped=skipped)


TEXT = st.sampled_from(["alice:bob", "alice", "bob", "phone", "", "x" * 129, "x" * 130, "Ä:b"])
BYTES = st.sampled_from([b"o" * 16, b"k" * 16, b"short", b""])
NUMBER = st.sampled_from([0, 1, 2, 3, 999, 1000, -1, 2**53 - 1, 2**53, 2**64 - 1, 1.0, True, None])
ANY: st.SearchStrategy[Any] = st.recursive(
    TEXT | BYTES | NUMBER, lambda inner: st.lists(inner, max_size=3), max_leaves=4
)
HEAD = ["alice:bob", "alice", "phone", b"o" * 16, 1, b"k" * 16, 0]


@st.composite
def loose_items(draw: st.DrawFn) -> Any:
    """An item that is nearly as it should be."""
    kind = draw(st.sampled_from([0, 0, 1, 2, 3, 4, 5, True, "0"]))
    controls: dict[Any, list[Any]] = {
        2: [2, 1],
        3: [3, 0, 0, "eve", "why", 1],
        4: [4, "eve", "why", 1],
    }
    last = draw(st.sampled_from([112, "hi", b"hi"]))
    rest: list[Any] = controls[kind] if kind in (2, 3, 4) else [kind, *HEAD, last]
    for _ in range(draw(st.integers(0, 2))):
        rest[draw(st.integers(0, len(rest) - 1))] = draw(ANY)
    return rest[: draw(st.integers(len(rest) - 2, len(rest)))] + draw(st.lists(ANY, max_size=1))


@st.composite
def loose_records(draw: st.DrawFn) -> bytes:
    """The value of a record that is nearly as it should be: of wrong fields, or of wrong bytes."""
    version = draw(st.sampled_from([1, 1, 1, 1, 0, 2, 1.0, "1", True]))
    record = [version, draw(st.lists(loose_items(), max_size=3)), *draw(st.lists(ANY, max_size=1))]
    value = bytearray(msgspec.msgpack.encode(draw(st.sampled_from([record, record, record[:1]]))))
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        place = draw(st.integers(0, len(value) - 1))
        value[place : place + draw(st.integers(0, 1))] = draw(st.binary(max_size=2))
        value = value or bytearray(b"\0")
    return bytes(value)


@example([msgspec.msgpack.encode([1, [[4, "eve", "why", 1]]])], {0})
@given(st.lists(loose_records(), min_size=1, max_size=4), st.sets(st.integers(0, 3), max_size=1))
def test_both_read_the_same_in_what_is_nearly_a_record(
    values: list[bytes], skipped: set[int]
) -> None:
    inputs = [Input(offset, 1000 + offset, value) for offset, value in enumerate(values)]
    ours = by_the_judge(inputs, skipped=skipped)
    assert ours == by_the_sequencer(inputs, skipped=skipped)


@pytest.mark.parametrize("size", [256 * 1024, 256 * 1024 + 1])
def test_both_know_the_largest_record(size: int) -> None:
    item = [0, *HEAD, ""]
    room = size - len(msgspec.msgpack.encode([1, [item]]))
    value = msgspec.msgpack.encode([1, [item], b"x" * (room - 5)])
    assert len(value) == size
    assert by_the_judge([Input(0, 1, value)]) == by_the_sequencer([Input(0, 1, value)])


@contextmanager
def mutated(module: ModuleType, line: str, other: str) -> Iterator[ModuleType]:
    """The module with one expression changed."""
    assert module.__file__ is not None
    with open(module.__file__) as file:
        source = file.read()
    assert source.count(line) == 1, f"{line!r} stands {source.count(line)} times in {module}"
    spec = importlib.util.spec_from_loader(f"{module.__name__}_mutated", None)
    assert spec is not None
    copy = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = copy
    try:
        exec(compile(source.replace(line, other), module.__file__, "exec"), copy.__dict__)
        yield copy
    finally:
        del sys.modules[spec.name]


SEQUENCERS_LINES = {
    "takes any later ordinal": ("ordinal != last_ordinal + 1", "ordinal <= last_ordinal"),
    "takes a repeat": ("ordinal != last_ordinal + 1", "ordinal > last_ordinal + 1"),
    "forgets a little earlier": ("time - outbox.time <= self", "time - outbox.time < self"),
    "log time goes back": ("if time > self.time:", "if time:"),
    "numbers skip": ("conversation.seq = conversation.seq + 1", "conversation.seq = 2"),
    "an empty body is a message": ("return 0 if type(item) is ChangeSubmitted", "return 0 if item"),
    "a body may be a byte less": ("> self._max_body else 0", ">= self._max_body else 0"),
    "strangers may write": ("or item.sender not in conversation.members", "and item"),
    "a refusal takes nothing": ('body, code, changes = "", item.code, None', "return"),
}
JUDGES_LINES = {
    "takes any later ordinal": ("ordinal != last + 1", "ordinal <= last"),
    "takes a repeat": ("ordinal != last + 1", "ordinal > last + 1"),
    "forgets a little earlier": ("if self.time - when > limits", "if self.time - when >= limits"),
    "log time goes back": ("self.time = max(self.time, time)", "self.time = time"),
    "numbers skip": ("self.numbers.get(conversation, 0) + 1", "2"),
    "an empty body is a message": ("if not body and not deletes:", "if body is None:"),
    "a body may be a byte less": ("> limits.body else 0", ">= limits.body else 0"),
    "strangers may write": ("and sender in (users[1], users[2])", ""),
    "members in any order": ("and users[1] < users[2] ", ""),
    "goes back to an older fold": ("if asked.version < self.version:", "if not asked.version:"),
    "strangers are not counted": (
        "            self.set_aside += 1\n            return",
        "            return",
    ),
    "a refusal takes nothing": ("if ordinal != last + 1:", "if ordinal != last + 1 or code:"),
}


def found_out(sequencer: ModuleType, judge: ModuleType) -> bool:
    """Whether a random input shows that the folds differ."""

    def differ(history: History) -> bool:
        inputs, _ = write(history)
        try:
            return by_the_sequencer(inputs, sequencer) != by_the_judge(inputs, judge)
        except Exception:  # a fold that fails is found out, too
            return True

    find(
        records,
        differ,
        settings=settings(max_examples=3000, database=None, deadline=None, phases=[Phase.generate]),
        random=random.Random(1),
    )  # raises NoSuchExample
    return True


@pytest.mark.parametrize("name", SEQUENCERS_LINES)
def test_a_change_of_the_sequencers_fold_is_found(name: str) -> None:
    with mutated(agents.rules.fold, *SEQUENCERS_LINES[name]) as sequencer:
        assert found_out(sequencer, ops.audit.fold)


@pytest.mark.parametrize("name", JUDGES_LINES)
def test_a_change_of_the_judges_fold_is_found(name: str) -> None:
    with mutated(ops.audit.fold, *JUDGES_LINES[name]) as judge:
        assert found_out(agents.rules.fold, judge)
