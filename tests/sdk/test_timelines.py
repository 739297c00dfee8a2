"""Shown once, in order, without a hole, whatever way the messages come."""

import random

from hypothesis import given
from hypothesis import strategies as st

from messenger_sdk.timelines import MAX_BUFFERED, Timelines, syncs
from schemas.frames import MAX_PAGE_MESSAGES, Message, Sync

A = "alice:bob"


def message(seq: int, conversation: str = A) -> Message:
    return Message(conversation, seq, "bob", "key", 1000 + seq, f"body {seq}")


def test_the_first_message_sets_the_floor() -> None:
    lines = Timelines()
    assert [shown.message.seq for shown in lines.accept(message(5))] == [5]
    assert lines.accept(message(4)) == []
    assert (lines.cursors(), lines.behind()) == ({A: 5}, [])


def test_what_there_was_before_the_device_began_is_history() -> None:
    for pushed, floor in ((5, 4), (6, 5), (8, 5)):
        lines = Timelines()
        lines.heads({A: 5})
        lines.begun = True
        assert (lines.behind(), lines.cursors()) == ([], {A: 5})
        lines.accept(message(pushed))
        assert lines.after(A) == (pushed if floor == pushed - 1 else floor)
        assert lines.behind() == ([] if floor == pushed - 1 else [A])


def test_a_send_answered_after_the_beginning_that_tells_of_more_leaves_no_hole() -> None:
    """The device's own 5, written before the first heads said 7: shown from 5 on, 6 and 7 are asked
    for."""
    lines = Timelines()
    lines.heads({A: 7})
    lines.begun = True
    assert [shown.message.seq for shown in lines.accept(message(5))] == [5]
    assert lines.behind() == [A]
    assert [shown.message.seq for shown in lines.page([message(6), message(7)])] == [6, 7]
    assert lines.behind() == []


def test_what_was_shown_before_a_restart_is_not_shown_again() -> None:
    """A delivery that is repeated reaches the device after its restart."""
    lines = Timelines({A: 3}, begun=True)
    assert [lines.accept(message(seq)) for seq in (1, 3)] == [[], []]
    assert [shown.message.seq for shown in lines.accept(message(4))] == [4]
    assert (lines.cursors(), lines.floors(), lines.behind()) == ({A: 4}, {A: 3}, [])


def test_a_conversation_of_after_the_beginning_begins_at_one() -> None:
    lines = Timelines()
    lines.begun = True
    lines.heads({A: 3})
    assert lines.accept(message(2, "alice:carol")) == []
    assert [(name, lines.after(name)) for name in lines.behind()] == [(A, 0), ("alice:carol", 0)]
    assert [shown.message.seq for shown in lines.accept(message(1, "alice:carol"))] == [1, 2]


def test_all_conversations_are_asked_for_in_stretches() -> None:
    assert syncs({}) == [Sync(0, {}, "", "")]
    names = [f"alice:bob{number:05}" for number in range(2500)]
    questions = syncs(dict.fromkeys(reversed(names), 7))
    assert [(q.after, q.until) for q in questions] == [
        ("", names[999]),
        (names[999], names[1999]),
        (names[1999], ""),
    ]
    assert [name for q in questions for name in q.cursors] == names


def test_what_is_gone_is_counted_once() -> None:
    lines = Timelines()
    lines.accept(message(1))
    lines.heads({A: 4})
    assert lines.gone(A) == []
    assert lines.behind() == []
    assert lines.accept(message(6)) == []
    assert [(shown.message.seq, shown.missing) for shown in lines.gone(A)] == [(6, 4)]
    assert [(shown.message.seq, shown.missing) for shown in lines.accept(message(7))] == [(7, 0)]


def test_what_is_held_is_bounded_and_conversations_do_not_meet() -> None:
    lines = Timelines()
    lines.accept(message(1))
    for seq in range(3, 3 + MAX_BUFFERED * 2):
        lines.accept(message(seq))
    lines.accept(message(1, "alice:carol"))
    assert len(lines._lines[A].buffered) == MAX_BUFFERED
    assert lines.behind() == [A]
    assert len(lines.accept(message(2))) == MAX_BUFFERED + 1
    assert lines.behind() == [A], "what was not buffered is asked for again"


@given(st.integers(0, 2**63), st.integers(1, 600))
def test_pushes_that_get_lost_and_pages_come_to_the_whole(seed: int, count: int) -> None:
    chance = random.Random(seed)
    lines, shown, pushed = Timelines(), list[int](), 0
    lines.accept(message(1))
    for _ in range(10_000):
        if pushed < count and chance.random() < 0.7:
            pushed += 1
            if chance.random() < 0.8:
                shown += [
                    entry.message.seq
                    for entry in lines.accept(message(chance.choice([pushed, max(1, pushed - 1)])))
                ]
        if chance.random() < 0.1 or pushed == count:
            lines.heads({A: pushed})
        for conversation in lines.behind():
            after = lines.after(conversation)
            size = chance.choice([0, 1, MAX_PAGE_MESSAGES])
            shown += [
                s.message.seq
                for s in lines.page(
                    [message(n) for n in range(after + 1, min(after + size, pushed) + 1)]
                )
            ]
        if pushed == count and not lines.behind():
            break
    assert shown == list(range(2, count + 1))


def test_what_is_kept_no_more_is_passed_over_and_counted() -> None:
    lines = Timelines()
    lines.begun = True
    assert [s.message.seq for s in lines.accept(message(1))] == [1]
    lines.accept(message(9))
    shown = lines.page([message(5), message(6)], first=True)
    assert [(s.message.seq, s.missing) for s in shown] == [(5, 3), (6, 0)]
    assert lines.after(A) == 6
    shown = lines.page([message(7), message(8)], first=True)
    assert [(s.message.seq, s.missing) for s in shown] == [(7, 0), (8, 0), (9, 0)]
