"""What a device says of receiving and reading, what it asks, and what it makes of the answers."""

import itertools

import pytest

from messenger_sdk.backoff import LOST_SECONDS
from messenger_sdk.marks import MarkBook
from schemas.frames import MAX_MARKED, Error, Mark, Marks, Message, Read, Received

A, B = "alice:bob", "alice:carol"


def book() -> MarkBook:
    made = MarkBook(lambda: 0.5, itertools.count(2))
    made.user = "alice"
    return made


def test_receipts_are_said_once_and_the_highest_only() -> None:
    marks = book()
    marks.received(A, 1)
    marks.received(A, 3)
    marks.received(A, 2)
    marks.read(B, 5)
    marks.received(B, 5)
    assert marks.receipts() == [Received(A, 3), Read(B, 5)]
    assert marks.receipts() == []
    marks.received(A, 3)
    assert marks.receipts() == []
    marks.read(A, 2)
    assert marks.receipts() == [Read(A, 2), Received(A, 3)]


def test_who_writes_has_read() -> None:
    marks = book()
    marks.received(A, 3)
    for seq, sender in enumerate(("bob", "alice", "alice", "bob"), 3):
        marks.shown(Message(A, seq, sender, "", 0, ""))
    assert marks.read_up_to(A) == 5
    assert marks.receipts() == [Read(A, 5)]


def test_conversations_that_are_found_later_are_asked_after_once_a_session() -> None:
    marks = book()
    for session in range(2):
        marks.begin([A], session)
        marks.found([B, A], session)
        marks.found([B], session)
        for conversation in (A, B):
            asked = marks.question(session)
            assert asked is not None
            assert asked.conversations == [conversation]
            marks.answer(Marks(asked.id, []), session)
        assert marks.question(session) is None


def test_what_the_server_does_not_know_after_a_reconnect_is_said_again() -> None:
    marks = book()
    marks.received(A, 3)
    marks.read(B, 5)
    marks.receipts()
    marks.begin([A, B], 0)
    asked = marks.question(0)
    assert asked is not None
    assert asked.conversations == [A, B]
    news = marks.answer(
        Marks(
            asked.id,
            [
                Mark(A, "alice", 3, 9, 0, 0),
                Mark(B, "alice", 5, 9, 4, 9),
                Mark(A, "bob", 7, 8, 7, 8),
            ],
        ),
        0,
    )
    assert [mark.user for mark in news] == ["alice", "alice", "bob"]
    assert marks.receipts() == [Read(B, 5)]
    assert marks.read_up_to(B) == 5
    assert marks.mark(A, "bob").read == 7


def test_what_was_received_before_the_start_is_said_if_the_server_does_not_know_it() -> None:
    marks = MarkBook(lambda: 0.5, itertools.count(2), {A: 4, B: 2}, {B: 3})
    marks.user = "alice"
    assert marks.receipts() == []
    marks.begin([A, B], 0)
    asked = marks.question(0)
    assert asked is not None
    marks.answer(Marks(asked.id, [Mark(A, "alice", 3, 9, 0, 0), Mark(B, "alice", 3, 9, 2, 9)]), 0)
    assert marks.receipts() == [Received(A, 4), Read(B, 3)]


def test_a_receipt_that_was_not_taken_is_said_again_later_and_later() -> None:
    marks = book()
    marks.received(A, 3)
    marks.read(B, 2)
    marks.accept(Mark(B, "alice", 2, 9, 2, 9))
    now, waits = 0.0, []
    for _ in range(3):
        marks.receipts()
        for _ in range(2):  # once for however many errors
            assert marks.error(Error(121, True, "too many"), now)
        assert marks.question(now) is None
        at = marks.wake_at()
        assert at is not None
        waits.append(at - now)
        now = at
        asked = marks.question(now)
        assert asked is not None
        assert asked.conversations == [A], "what is known need not be asked after"
        assert marks.wake_at() == now + LOST_SECONDS
        marks.answer(Marks(asked.id, [], pending=False), now)
        assert marks.receipts() == [Received(A, 3)]
    assert waits == pytest.approx([waits[0], 2 * waits[0], 4 * waits[0]])
    marks.begin([A], now)
    asked = marks.question(now)
    assert asked is not None
    marks.answer(Marks(asked.id, [Mark(A, "alice", 3, 9, 0, 0)]), now)
    assert marks.receipts() == []
    marks.error(Error(120, True, "later"), now)
    assert marks.wake_at() == now + waits[0], "all is known: patience begins anew"
    assert marks.question(now + waits[0]) is None
    assert not marks.error(Error(120, True, "of a send", to="bob"), now)
    assert not marks.error(Error(113, False, "not a member"), now)


def test_a_mark_never_goes_back() -> None:
    marks = book()
    assert marks.accept(Mark(A, "bob", 5, 50, 2, 20))
    assert not marks.accept(Mark(A, "bob", 5, 51, 1, 10))
    assert marks.accept(Mark(A, "bob", 4, 40, 3, 30))
    assert marks.mark(A, "bob") == Mark(A, "bob", 5, 50, 3, 30)


def test_what_is_pending_or_failed_is_asked_again_later_and_many_in_several_questions() -> None:
    marks = book()
    names = [f"alice:u{number:04}" for number in range(MAX_MARKED + 1)]
    marks.begin(names, 0)
    first = marks.question(0)
    assert first is not None
    assert len(first.conversations) == MAX_MARKED
    assert marks.question(0) is None
    assert marks.wake_at() == LOST_SECONDS
    marks.answer(Marks(first.id, [], pending=True), 0)
    second = marks.question(0)
    assert second is not None
    assert second.conversations == names[MAX_MARKED:]
    assert marks.error(Error(120, True, "later", id=second.id), 0)
    assert not marks.error(Error(120, True, "of another", id=99), 0)
    assert marks.question(0) is None
    at = marks.wake_at()
    assert at is not None
    again = marks.question(at)
    assert again is not None
    assert again.conversations == first.conversations


def test_a_question_that_is_never_answered_is_asked_again() -> None:
    marks = book()
    marks.begin([A, B], 0)
    asked = marks.question(0)
    assert asked is not None
    assert marks.question(LOST_SECONDS - 0.1) is None
    again = marks.question(LOST_SECONDS)
    assert again is not None
    assert again.conversations == asked.conversations
    assert marks.answer(Marks(asked.id, [Mark(A, "bob", 1, 1, 1, 1)]), LOST_SECONDS) == []
    assert len(marks.answer(Marks(again.id, [Mark(A, "bob", 1, 1, 1, 1)]), LOST_SECONDS)) == 1
    assert marks.wake_at() is None
