"""How `messenger chat` lays out a conversation."""

from rich.cells import cell_len

from messenger_sdk import HistoryPage
from ops.chat.bubbles import Line, lines, wrap
from ops.chat.state import Chat, Conversation
from tests.unit.test_chat_state import NOW, chat, marks, said


def text(line: Line) -> str:
    return "".join(piece for piece, _ in line.pieces).rstrip()


def drawn(conversation: Conversation, width: int = 40) -> list[str]:
    return [text(line) for line in lines(conversation, width, NOW) if line.pieces]


def test_own_messages_stand_at_the_right_and_the_last_says_what_became_of_it() -> None:
    made = chat(said(1), said(2, "alice"), said(3, "alice"), marks("bob", 3, 2))
    assert drawn(made.conversations["bob"]) == [
        "                 Today",
        "  hi  12:00",
        "                          hi  12:00 ✓✓",
        "                hi  12:00 ✓✓ delivered",
    ]


def test_lines_are_cut_between_words_and_never_wider_than_the_screen() -> None:
    assert wrap("one two  three", 7) == ["one two", "three"]
    assert wrap("abcdefghij kl", 4) == ["abcd", "efgh", "ij", "kl"]
    assert wrap("a\n\n  b", 9) == ["a", "", "  b"]
    assert wrap("漢字漢字", 5) == ["漢字", "漢字"]
    made = chat(said(1, body="漢字 " * 30), said(2, "alice", "x" * 300), said(3, body="\n" * 3))
    for width in (12, 33, 200):
        for line in lines(made.conversations["bob"], width, NOW):
            assert cell_len("".join(piece for piece, _ in line.pieces)) <= width


def test_each_message_ends_once_and_lines_know_theirs() -> None:
    made = chat(said(1, body="a\nb\nc"), said(2))
    made.submitted("bob", "key", "waits", 0, NOW)
    ends = [line.of for line in lines(made.conversations["bob"], 40, NOW) if line.ends]
    assert ends == [1, 2, "key"]


def test_new_messages_and_the_beginning_are_marked() -> None:
    made = chat(marks("alice", 1, 1), said(1), said(2))
    made.conversations["bob"].page(HistoryPage([said(1)], 2, True))
    rows = drawn(made.open("bob", NOW))
    assert rows[0].strip() == "The beginning of the conversation"
    assert "New messages" in rows[3]


def test_deleted_edited_and_changing() -> None:
    made = chat(
        said(1, "alice"), said(2, "alice"), said(3, "alice", "", changes=1, version=3, erased=True)
    )
    made.submitted("bob", "change", "hello", 2, NOW)
    assert [row.strip() for row in drawn(made.conversations["bob"])[1:]] == [
        "deleted  12:00",
        "hi  12:00 ✓ changing…",
    ]
    made.happened(said(4, "alice", "hello", changes=2, version=4, key="change"), NOW)
    assert drawn(made.conversations["bob"])[2].strip() == "hello  12:00 edited ✓ sent"


def test_nothing_is_drawn_of_nobody() -> None:
    assert drawn(Chat("alice").open("bob", NOW)) == []
