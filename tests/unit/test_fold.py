"""The fold's answers, one by one (architecture: outbox and ordinal)."""

import pytest

from agents.rules.batch import Batch, fold_records
from agents.rules.fold import DAY, VERSIONS, FoldState, OutOfStep, Repeat, StateIncomplete
from agents.rules.fold_view import InMemoryFoldView
from schemas.codec import NewerVersion, encode_event
from schemas.codes import Code
from schemas.events import (
    SCHEMA_VERSION,
    FoldSwitched,
    MessageSubmitted,
    RefusalSubmitted,
    Submitted,
    SubmittedRecord,
)
from tests.property.model import Input

A = "alice:bob"
KEY = [bytes([n]) * 16 for n in range(200)]


def message(
    ordinal: int, key: int | None = None, body: str = "hi", sender: str = "alice", round_: int = 0
) -> MessageSubmitted:
    return MessageSubmitted(
        A, sender, "phone", b"o" * 16, ordinal, KEY[key or ordinal], round_, body
    )


class Partition:
    """Feeds one partition's fold."""

    def __init__(self) -> None:
        self.known = InMemoryFoldView()
        self.state = FoldState(self.known)
        self.offset = -1

    def feed(self, *items: Submitted, time: int = 1000) -> Batch:
        self.offset += 1
        value = encode_event(SubmittedRecord(SCHEMA_VERSION, list(items)))
        (batch,) = fold_records(self.state, [Input(self.offset, time, value)])
        return batch


@pytest.fixture
def partition() -> Partition:
    return Partition()


def seqs(batch: Batch) -> list[int]:
    return [taken.seq for taken in batch.outcome.taken]


def test_numbers_are_dense_over_both_senders(partition: Partition) -> None:
    assert seqs(partition.feed(message(1), message(1, sender="bob"), message(2))) == [1, 2, 3]


def test_a_repeat_gets_the_answer_it_got(partition: Partition) -> None:
    partition.feed(message(1), time=1000)
    (repeat,) = partition.feed(message(1), time=2000).outcome.answers
    assert isinstance(repeat, Repeat)
    assert (repeat.answer.seq, repeat.answer.time) == (1, 1000)


def test_a_gap_asks_for_the_next(partition: Partition) -> None:
    (answer,) = partition.feed(message(3, round_=7)).outcome.answers
    assert answer == OutOfStep(message(3, round_=7), 1, "gap")


def test_another_key_is_reused(partition: Partition) -> None:
    partition.feed(message(1))
    (answer,) = partition.feed(message(1, key=99)).outcome.answers
    assert isinstance(answer, OutOfStep)
    assert answer.reason == "reused"


def test_only_the_last_64_are_remembered(partition: Partition) -> None:
    partition.feed(*(message(n) for n in range(1, 71)))
    oldest, too_old = partition.feed(message(7), message(6)).outcome.answers
    assert isinstance(oldest, Repeat)
    assert isinstance(too_old, OutOfStep)
    assert (too_old.reason, too_old.next) == ("too_old", 71)


def test_a_refusal_uses_up_its_ordinal_without_a_number(partition: Partition) -> None:
    refusal = RefusalSubmitted(
        A, "alice", "phone", b"o" * 16, 1, KEY[1], 0, Code.BODY_TOO_LARGE.number
    )
    taken = partition.feed(refusal, message(2)).outcome.taken
    assert [(item.seq, item.code) for item in taken] == [(0, 111), (1, 0)]
    (repeat,) = partition.feed(message(1)).outcome.answers
    assert isinstance(repeat, Repeat)
    assert repeat.answer.code == 111


@pytest.mark.parametrize(
    ("body", "code"),
    [("", 110), ("x" * 16385, 111), ("é" * 8193, 111), ("é" * 8192, 0), ("x" * 16384, 0)],
)
def test_bodies_are_measured_in_utf8_bytes(partition: Partition, body: str, code: int) -> None:
    (taken,) = partition.feed(message(1, body=body)).outcome.taken
    assert taken.code == code


def test_an_outbox_is_forgotten_after_90_days_of_log_time(partition: Partition) -> None:
    partition.feed(message(1), time=0)
    assert seqs(partition.feed(message(2), time=90 * DAY)) == [2]
    partition.feed(message(2), time=180 * DAY)
    (gone,) = partition.feed(message(3), time=180 * DAY + 1).outcome.answers
    assert isinstance(gone, OutOfStep)
    assert gone.next == 1
    assert seqs(partition.feed(message(1, key=50), time=180 * DAY + 1)) == [3]


def test_log_time_never_goes_back(partition: Partition) -> None:
    partition.feed(message(1), time=5000)
    assert partition.feed(message(2), time=4000).outcome.taken[0].time == 5000


def test_strangers_are_set_aside(partition: Partition) -> None:
    batch = partition.feed(
        message(1, sender="mallory"), MessageSubmitted("b:a", "b", "d", KEY[0], 1, KEY[1], 0, "x")
    )
    assert [dead.code for dead in batch.outcome.dead] == [Code.NOT_A_MEMBER, Code.NOT_A_MEMBER]
    assert seqs(batch) == []


def test_a_control_record_is_a_batch_of_its_own_and_never_goes_back() -> None:
    state = FoldState(InMemoryFoldView(), versions={1: VERSIONS[1], 2: VERSIONS[1]})
    values: list[Submitted] = [message(1), FoldSwitched(2), message(2), FoldSwitched(1)]
    records = [
        Input(n, 1000, encode_event(SubmittedRecord(1, [item]))) for n, item in enumerate(values)
    ]
    batches = list(fold_records(state, records))
    assert [(batch.first, batch.last, batch.version) for batch in batches] == [
        (0, 0, 1),
        (1, 1, 2),
        (2, 2, 2),
        (3, 3, 2),
    ]
    assert [dead.code for dead in batches[3].outcome.dead] == [Code.CONTROL_INVALID]


def test_an_unknown_fold_version_stops_after_what_was_before_it() -> None:
    state = FoldState(InMemoryFoldView())
    values: list[Submitted] = [message(1), FoldSwitched(9), message(2)]
    records = [
        Input(n, 1000, encode_event(SubmittedRecord(1, [item]))) for n, item in enumerate(values)
    ]
    batches = fold_records(state, records)
    assert next(batches).last == 0
    with pytest.raises(NewerVersion):
        next(batches)


def test_a_jump_of_offsets_is_not_folded(partition: Partition) -> None:
    partition.offset = 4
    with pytest.raises(StateIncomplete):
        partition.feed(message(1))
