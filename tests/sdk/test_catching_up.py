"""What a device asks for, and when it asks again."""

import itertools

from messenger_sdk.backoff import LOST_SECONDS
from messenger_sdk.catching_up import MAX_CATCHING_UP, CatchingUp
from messenger_sdk.timelines import Timelines
from schemas.frames import Error, Heads, History, Message, Page, Sync

A, B = "alice:bob", "alice:carol"


def message(conversation: str, seq: int) -> Message:
    return Message(conversation, seq, "bob", f"{seq:032x}", seq, f"m{seq}")


def begun(**cursors: int) -> tuple[CatchingUp, Timelines]:
    """A device that has shown something, and has just had its first heads."""
    timelines = Timelines()
    catching_up = CatchingUp(timelines, jitter=lambda: 0.5, ids=itertools.count(2))
    catching_up.begin()
    (sync,) = catching_up.questions(0)
    assert isinstance(sync, Sync)
    catching_up.heads(Heads(sync.id, cursors), 0)
    return catching_up, timelines


def test_only_complete_heads_are_a_beginning() -> None:
    timelines = Timelines()
    catching_up = CatchingUp(timelines, jitter=lambda: 0.5, ids=itertools.count(2))
    catching_up.begin()
    (sync,) = catching_up.questions(0)
    catching_up.heads(Heads(sync.id, {A: 3}, pending=True), 0)
    assert not timelines.begun
    assert catching_up.questions(0) == []
    at = catching_up.wake_at()
    assert at is not None
    assert 0.1 < at < 1
    (again,) = catching_up.questions(at)
    catching_up.heads(Heads(again.id, {A: 3, B: 2}), at)
    assert timelines.begun
    assert timelines.cursors() == {A: 3, B: 2}
    assert catching_up.wake_at() is None


def test_a_cut_and_pending_answer_asks_on_and_again() -> None:
    catching_up, timelines = begun()
    catching_up.sync()
    (sync,) = catching_up.questions(1)
    catching_up.heads(Heads(sync.id, {A: 1}, next=A, pending=True), 1)
    later, page = catching_up.questions(1)
    assert isinstance(later, Sync)
    assert (later.after, later.until) == (A, "")
    assert isinstance(page, History)
    catching_up.heads(Heads(later.id, {}), 1)
    (again,) = catching_up.questions(2)
    assert isinstance(again, Sync)
    assert (again.after, again.until) == ("", A)
    assert timelines.begun


def test_an_empty_page_is_asked_for_again_with_backoff() -> None:
    catching_up, timelines = begun()
    timelines.heads({A: 1})
    now, waits = 0.0, []
    for _ in range(5):
        (asked,) = catching_up.questions(now)
        assert catching_up.page(Page(asked.id, A, 0, []), now) == []
        assert catching_up.questions(now) == []
        at = catching_up.wake_at()
        assert at is not None
        waits.append(at - now)
        now = at
    assert waits == sorted(waits)
    assert waits[-1] > waits[0] * 10
    (asked,) = catching_up.questions(now)
    assert [
        shown.message.seq for shown in catching_up.page(Page(asked.id, A, 1, [message(A, 1)]), now)
    ] == [1]
    assert catching_up.questions(now + 60) == []
    assert catching_up.wake_at() is None


def test_errors_are_asked_again_or_given_up() -> None:
    catching_up, timelines = begun()
    timelines.heads({A: 2, B: 1})
    first, second = catching_up.questions(0)
    assert catching_up.error(Error(122, False, "gone", id=first.id), 0) == []
    assert catching_up.error(Error(120, True, "later", id=second.id), 0) == []
    assert catching_up.error(Error(120, True, "of another command", id=99), 0) is None
    assert catching_up.error(Error(100, False, "of nothing"), 0) is None
    assert timelines.cursors()[A] == 2
    at = catching_up.wake_at()
    assert at is not None
    assert [
        asked.conversation for asked in catching_up.questions(at) if isinstance(asked, History)
    ] == [B]


def test_a_few_questions_at_a_time_and_no_waking_while_they_are_under_way() -> None:
    catching_up, timelines = begun()
    timelines.heads({f"alice:u{number:03}": 1 for number in range(20)})
    asked = catching_up.questions(0)
    assert len(asked) == MAX_CATCHING_UP
    catching_up.sync()
    assert catching_up.questions(0) == []
    assert catching_up.wake_at() == LOST_SECONDS
    conversation = asked[0].conversation if isinstance(asked[0], History) else ""
    catching_up.page(Page(asked[0].id, conversation, 1, [message(conversation, 1)]), 0)
    (sync,) = catching_up.questions(0)
    assert isinstance(sync, Sync)


def test_a_new_session_begins_anew() -> None:
    catching_up, timelines = begun()
    timelines.heads({A: 1})
    (asked,) = catching_up.questions(0)
    catching_up.begin()
    sync, again = catching_up.questions(0)
    assert isinstance(sync, Sync)
    assert sync.cursors == {A: 0}
    assert isinstance(again, History)
    assert catching_up.page(Page(asked.id, A, 1, [message(A, 1)]), 0) == []


def test_a_question_that_is_never_answered_is_asked_again() -> None:
    catching_up, timelines = begun()
    catching_up.sync()
    timelines.heads({A: 1})
    asked = catching_up.questions(0)
    assert len(asked) == 2
    assert catching_up.questions(LOST_SECONDS - 0.1) == []
    again = catching_up.questions(LOST_SECONDS)
    assert [type(question) for question in again] == [type(question) for question in asked]
    assert {question.id for question in again}.isdisjoint({question.id for question in asked})
    history = again[1]
    assert catching_up.page(Page(asked[1].id, A, 1, [message(A, 1)]), LOST_SECONDS) == [], (
        "too late: it is asked again"
    )
    assert [
        shown.message.seq
        for shown in catching_up.page(Page(history.id, A, 1, [message(A, 1)]), LOST_SECONDS)
    ] == [1]


def test_many_failures_at_once_do_not_make_the_device_deaf_for_long() -> None:
    """Fault 23: each conversation's page fails, and so does the next attempt."""
    names = [f"alice:user{number}" for number in range(MAX_CATCHING_UP)]
    timelines = Timelines()
    catching_up = CatchingUp(timelines, jitter=lambda: 0.999, ids=itertools.count(2))
    catching_up.begin()
    (sync,) = catching_up.questions(0)
    catching_up.heads(Heads(sync.id, dict.fromkeys(names, 1)), 0)
    timelines.heads(dict.fromkeys(names, 2))
    now = 0.0
    for _ in range(3):
        asked = catching_up.questions(now)
        assert len(asked) == len(names)
        for question in asked:
            catching_up.error(Error(120, True, "try later", id=question.id), now)
        now += 3.2
