"""What the decoder and the fold do with what they cannot take (R7), and what never leaks into the
log (R1)."""

import zlib

import msgspec
import pytest

from agents.rules.batch import fold_records
from agents.rules.fold import FoldState, StateIncomplete
from agents.rules.fold_view import Answer, InMemoryFoldView, Last
from schemas import codec
from schemas.codec import Undecodable, encode_event
from schemas.codes import Code
from schemas.events import (
    CHANGES_VERSION,
    SCHEMA_VERSION,
    FoldSwitched,
    MessageSubmitted,
    Submitted,
    SubmittedRecord,
    Taken,
)
from schemas.submitted_codec import decode_submitted
from tests.property.model import VERSIONS, Input

A = "alice:bob"


def message(ordinal: int, body: str = "hi", sender: str = "alice") -> MessageSubmitted:
    return MessageSubmitted(A, sender, "phone", b"o" * 16, ordinal, bytes([ordinal]) * 16, 7, body)


def record(*items: Submitted) -> bytes:
    return encode_event(SubmittedRecord(SCHEMA_VERSION, list(items)))


def test_a_message_whose_body_cannot_be_read_uses_up_its_ordinal() -> None:
    """Else everything the device sends after it would be a gap for ever."""
    broken = msgspec.msgpack.encode(
        [0, A, "alice", "phone", b"o" * 16, 2, b"k" * 16, 7, {"no": "text"}]
    )
    value = msgspec.msgpack.encode([SCHEMA_VERSION, [message(1), msgspec.Raw(broken), message(3)]])
    (batch,) = fold_records(FoldState(InMemoryFoldView()), [Input(0, 1000, value)])
    assert [(item.ordinal, item.key, item.seq, item.code) for item in batch.outcome.taken] == [
        (1, bytes([1]) * 16, 1, 0),
        (2, b"k" * 16, 0, Code.ITEM_INVALID.number),
        (3, bytes([3]) * 16, 2, 0),
    ]
    (dead,) = batch.outcome.dead
    assert (dead.offset, dead.place, dead.code, dead.value) == (0, 1, Code.ITEM_INVALID, broken)


def test_a_control_among_messages_sets_the_record_aside() -> None:
    state = FoldState(InMemoryFoldView(), versions=VERSIONS)
    (batch,) = fold_records(state, [Input(0, 1000, record(message(1), FoldSwitched(2)))])
    assert batch.outcome.taken == []
    assert [(dead.place, dead.code) for dead in batch.outcome.dead] == [(-1, Code.CONTROL_INVALID)]
    assert state.version == 1


def test_the_size_limit_is_exact_and_part_of_the_decoder() -> None:
    padding = codec.MAX_SUBMITTED_BYTES - len(record(message(1, "x" * 70_000))) + 70_000
    largest = record(message(1, "x" * padding))
    assert len(largest) == codec.MAX_SUBMITTED_BYTES
    assert len(decode_submitted(largest)) == 1
    with pytest.raises(codec.Undecodable) as error:
        decode_submitted(record(message(1, "x" * (padding + 1))))
    assert error.value.code is Code.RECORD_TOO_LARGE


class _Incomplete(InMemoryFoldView):
    """Knows an outbox of bob's, but no longer what it was answered."""

    def last(self, outbox: tuple[str, str, bytes]) -> Last | None:
        return Last(5, 1000) if outbox[1] == "bob" else super().last(outbox)

    def answer(self, outbox: tuple[str, str, bytes], ordinal: int) -> Answer | None:
        return None


def test_half_a_record_never_reaches_the_log() -> None:
    """The fold stops in the middle of a record: what was before the record is a batch, nothing of
    it is."""
    records = [
        Input(0, 1000, record(message(1))),
        Input(1, 1001, record(message(2), message(1, sender="mallory"), message(3, sender="bob"))),
    ]
    batches = fold_records(FoldState(_Incomplete()), records)
    batch = next(batches)
    assert (batch.last, batch.time, batch.input_crc) == (0, 1000, zlib.crc32(records[0].value))
    assert [item.ordinal for item in batch.outcome.taken] == [1]
    assert batch.outcome.dead == []
    with pytest.raises(StateIncomplete):
        next(batches)


def test_an_exception_in_the_decoder_stops_after_what_was_before_it() -> None:
    newer = msgspec.msgpack.encode([CHANGES_VERSION + 1, []])
    batches = fold_records(
        FoldState(InMemoryFoldView()), [Input(0, 1000, record(message(1))), Input(1, 1000, newer)]
    )
    assert next(batches).last == 0
    with pytest.raises(codec.NewerVersion):
        next(batches)


def test_a_log_record_names_the_last_input_record_it_covers() -> None:
    """Broker time and CRC of R3 are the record's own, the time is the log's."""
    records = [Input(0, 5000, record(message(1))), Input(1, 3000, b"garbage")]
    (batch,) = fold_records(FoldState(InMemoryFoldView()), records)
    entry = batch.log_record(delivered=-1)
    assert (entry.from_, entry.to, entry.time) == (0, 1, 5000)
    assert (entry.input_time, entry.input_crc) == (3000, zlib.crc32(b"garbage"))


def test_an_answer_is_only_that_of_its_ordinal() -> None:
    """Ordinals 64 apart share a place."""
    memory = InMemoryFoldView()
    memory.take([Taken(0, 1000, A, "alice", "phone", b"o" * 16, 65, b"k" * 16, 1, 0, "hi")])
    assert memory.answer((A, "alice", b"o" * 16), 65) == Answer(b"k" * 16, 1, 0, 1000)
    assert memory.answer((A, "alice", b"o" * 16), 1) is None


def test_a_fold_that_fails_has_not_moved() -> None:
    state = FoldState(InMemoryFoldView())
    with pytest.raises(codec.NewerVersion):
        list(fold_records(state, [Input(0, 9000, record(FoldSwitched(99)))]))
    assert (state.position, state.time, state.version) == (-1, 0, 1)


@pytest.mark.parametrize(
    "start", [b"", b"\x92\x01", b"\x92\x01\x91"], ids=["record", "items", "item"]
)
def test_a_deeply_nested_record_is_set_aside_like_other_garbage(start: bytes) -> None:
    with pytest.raises(Undecodable) as found:
        decode_submitted(start + b"\x91" * 100_000 + b"\xc0")
    assert found.value.code is Code.RECORD_UNREADABLE
