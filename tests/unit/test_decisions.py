"""What operators decide about halted partitions, as a pure function of the input (R7)."""

import msgspec
import pytest

from agents.rules.batch import fold_gap, fold_records
from agents.rules.decisions import Decisions
from agents.rules.fold import FoldState
from agents.rules.fold_view import InMemoryFoldView
from agents.rules.position import FoundInput, may_be_given_up
from schemas.codec import NewerVersion, encode_event
from schemas.codes import Code
from schemas.events import (
    CHANGES_VERSION,
    SCHEMA_VERSION,
    FoldSwitched,
    InputSkipped,
    MessageSubmitted,
    PartitionResumed,
    Submitted,
    SubmittedRecord,
)
from tests.property.model import Input

A = "alice:bob"


def record(offset: int, *items: Submitted, time: int = 1000) -> Input:
    return Input(offset, time, encode_event(SubmittedRecord(SCHEMA_VERSION, list(items))))


def message(ordinal: int) -> MessageSubmitted:
    return MessageSubmitted(A, "alice", "phone", b"o" * 16, ordinal, bytes([ordinal]) * 16, 1, "hi")


def skipped(offset: int, first: int, last: int) -> Input:
    return record(offset, InputSkipped(first, last, "eve", "bug 1", 7))


def test_decisions_are_found_among_messages() -> None:
    some = Decisions().and_then([record(0, message(1)), skipped(1, 0, 0)])
    assert some == Decisions(((0, 0),), 1, "eve: bug 1")
    more = some.and_then([record(2, PartitionResumed("eve", "again", 8)), record(3, message(2))])
    assert (more.skips, more.last, more.why) == (((0, 0),), 2, "eve: again")
    assert [offset for offset in range(4) if more.skip(offset)] == [0]


@pytest.mark.parametrize("value", [b"", b"?", msgspec.msgpack.encode([CHANGES_VERSION + 1, []])])
def test_what_cannot_be_read_decides_nothing(value: bytes) -> None:
    assert Decisions().and_then([Input(0, 1, value)]) == Decisions()


def test_a_decision_is_about_what_comes_before_it() -> None:
    """Else it would set aside what nobody has seen yet."""
    assert Decisions().and_then([skipped(4, 2, 4), skipped(5, 3, 9)]).skips == ()


def test_a_skipped_record_takes_no_ordinal_and_no_time() -> None:
    state = FoldState(InMemoryFoldView())
    bad = record(1, message(2), time=9_000_000)
    (batch,) = fold_records(
        state, [record(0, message(1)), bad, record(2, message(2))], {1}.__contains__
    )
    assert [(item.offset, item.seq, item.time) for item in batch.outcome.taken] == [
        (0, 1, 1000),
        (2, 2, 1000),
    ]
    (dead,) = batch.outcome.dead
    assert (dead.offset, dead.place, dead.code, dead.value) == (1, -1, Code.SET_ASIDE, bad.value)


def test_what_newer_code_wrote_is_never_skipped() -> None:
    newer = Input(0, 1, msgspec.msgpack.encode([CHANGES_VERSION + 1, []]))
    for one in (newer, record(0, FoldSwitched(99))):
        with pytest.raises(NewerVersion):
            list(fold_records(FoldState(InMemoryFoldView()), [one], {0}.__contains__))


def test_a_control_record_is_a_batch_of_its_own_and_changes_nothing() -> None:
    records = [record(0, message(1)), skipped(1, 0, 0), record(2, PartitionResumed("eve", "", 1))]
    batches = list(fold_records(FoldState(InMemoryFoldView()), records))
    assert [(batch.first, batch.last, len(batch.outcome.taken)) for batch in batches] == [
        (0, 0, 1),
        (1, 1, 0),
        (2, 2, 0),
    ]
    assert all(not batch.outcome.dead for batch in batches)


def test_a_gap_is_one_batch_and_numbers_go_on() -> None:
    state = FoldState(InMemoryFoldView())
    list(fold_records(state, [record(0, message(1))]))
    gap = fold_gap(state, 8)
    assert (gap.first, gap.last, gap.time, gap.outcome.taken) == (1, 8, 1000, [])
    (batch,) = fold_records(state, [record(9, message(2))])
    assert [item.seq for item in batch.outcome.taken] == [2]


def test_only_an_input_that_is_the_same_but_for_its_head_may_be_given_up() -> None:
    found = FoundInput("id", 5, 9, None)
    assert may_be_given_up("id", 2, (1, 1), found) == (3, 4)
    assert may_be_given_up("id", 4, (1, 1), found) is None  # nothing is gone
    assert may_be_given_up("other", 2, (1, 1), found) is None
    assert may_be_given_up("id", 9, (1, 1), found._replace(start=11)) is None  # no tail either


def test_a_switch_to_a_version_that_never_was_is_set_aside_and_waits_for_nobody() -> None:
    state = FoldState(InMemoryFoldView())
    (batch,) = fold_records(state, [record(0, FoldSwitched(0))])
    assert [dead.code for dead in batch.outcome.dead] == [Code.CONTROL_INVALID]
