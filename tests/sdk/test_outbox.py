"""The outbox's timer and its ends, one by one; tests/property/test_outbox.py holds the whole
against the fold."""

import itertools

import pytest

from messenger_sdk.errors import OutboxFull, SendRefused, SendUnknown
from messenger_sdk.outbox import MAX_RESEND_SECONDS, RESEND_SECONDS, Outbox, Sending, SentMessage
from schemas.codes import Code
from schemas.frames import OUTBOX_WINDOW, Error, OutOfStep, Refused, Sent


def outbox(count: int = 0) -> Outbox:
    numbers = itertools.count(1)
    box = Outbox(lambda: f"outbox-{next(numbers)}", max_queued=200)
    for number in range(1, count + 1):
        box.add("bob", f"key-{number}", f"body {number}")
    return box


def answer(send: Sending, seq: int) -> Sent:
    return Sent("alice:bob", send.outbox, send.ordinal, send.key, seq, 1000)


def test_new_sends_do_not_put_off_the_repeat_of_the_oldest() -> None:
    box = outbox(1)
    box.transmit(0.0)
    for second in range(1, int(RESEND_SECONDS)):
        box.add("bob", f"more-{second}", "more")
        box.transmit(float(second))
    assert box.wake_at() == RESEND_SECONDS
    assert [send.ordinal for send in box.transmit(RESEND_SECONDS)] == [1, 2, 3, 4, 5]


def test_each_answer_puts_off_the_repeat_of_those_behind_it() -> None:
    box = outbox(3)
    first, second, _ = box.transmit(0.0)
    box.sent("bob", answer(first, 1), 4.0)
    assert box.wake_at() == 4.0 + RESEND_SECONDS
    assert not box.transmit(RESEND_SECONDS)
    box.sent("bob", answer(second, 2), 8.0)
    assert [send.ordinal for send in box.transmit(8.0 + RESEND_SECONDS)] == [3]


def test_repeats_back_off_and_any_answer_ends_that() -> None:
    box, now, waits = outbox(2), 0.0, []
    first = box.transmit(now)[0]
    for _ in range(6):
        at = box.wake_at()
        assert at is not None
        waits.append(at - now)
        now = at
        assert box.transmit(now)
    assert waits == [5, 10, 20, 40, 60, 60]
    assert waits[-1] == MAX_RESEND_SECONDS
    box.sent("bob", answer(first, 1), now)
    assert box.wake_at() == now + RESEND_SECONDS


def test_what_was_turned_away_goes_again_soon_though_others_are_answered() -> None:
    box = outbox(2)
    first, second = box.transmit(0.0)
    box.error(
        Error(Code.TRY_LATER.number, True, "", None, "bob", second.outbox, second.ordinal), 0.0
    )
    box.sent("bob", answer(first, 1), 0.5)
    assert [send.ordinal for send in box.transmit(1.0)] == [2]


def test_an_error_for_good_ends_what_was_transmitted_and_the_rest_goes_out_of_a_new_outbox() -> (
    None
):
    box = outbox(OUTBOX_WINDOW + 1)
    sends = box.transmit(0.0)
    done = box.error(Error(Code.BAD_FIELD.number, False, "", None, "bob", sends[0].outbox, 1), 0.0)
    assert len(done) == OUTBOX_WINDOW
    assert all(isinstance(send.result, SendRefused) for send in done)
    (last,) = box.transmit(0.0)
    assert (last.key, last.ordinal) == (f"key-{OUTBOX_WINDOW + 1}", 1)
    assert last.outbox != sends[0].outbox


def test_refused_and_reused_and_seen_end_one_send_each() -> None:
    box = outbox(3)
    sends = box.transmit(0.0)
    name = "alice:bob", sends[0].outbox
    (refused,) = box.refused("bob", Refused(*name, 1, "key-1", Code.BODY_INVALID.number, 0), 0.0)
    (reused,) = box.out_of_step(
        "bob", OutOfStep(*name, 2, "key-2", sends[1].round, 9, "reused"), 0.0
    )
    (seen,) = box.own_message("bob", "key-3", SentMessage("alice:bob", 1, 0), 0.0)
    assert isinstance(refused.result, SendRefused)
    assert isinstance(reused.result, SendUnknown)
    assert seen.result == SentMessage("alice:bob", 1, 0)
    assert len(box) == 0
    assert box.wake_at() is None


def test_out_of_step_of_another_round_or_outbox_is_ignored() -> None:
    box = outbox(2)
    sends = box.transmit(0.0)
    box.reconnected()
    again = box.transmit(0.0)
    assert again[0].round == sends[0].round + 1
    for stale in (
        OutOfStep("alice:bob", sends[0].outbox, 2, "key-2", sends[0].round, 1, "gap"),
        OutOfStep("alice:bob", "another", 2, "key-2", again[0].round, 1, "gap"),
    ):
        assert box.out_of_step("bob", stale, 0.0) == []
        assert box.transmit(0.0) == []


def test_the_bound() -> None:
    box = outbox(200)
    with pytest.raises(OutboxFull):
        box.add("bob", "one more", "")
