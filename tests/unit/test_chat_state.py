"""What `messenger chat` shows, from the SDK's events."""

from datetime import datetime

from messenger_sdk import (
    HistoryPage,
    MarksChanged,
    MessageReceived,
    MessengerError,
    PersonChanged,
    PresenceChanged,
    SendFailed,
    StateChanged,
    Typing,
)
from ops.chat.state import KEPT, TYPING_MS, Chat, Message
from ops.chat.words import day, fate, line, plain, presence, short_time

A = "alice:bob"
NOW = int(datetime(2026, 11, 30, 12).timestamp() * 1000)
DAY = 86_400_000


def said(
    seq: int, sender: str = "bob", body: str = "hi", **more: int | bool | str
) -> MessageReceived:
    key = str(more.pop("key", f"key {seq}"))
    fields = {"erased": False, "changes": 0, "version": 0} | more
    return MessageReceived(A, seq, sender, key, NOW + seq, body, 0, **fields)  # type: ignore[arg-type]


def marks(user: str, received: int, read: int) -> MarksChanged:
    return MarksChanged(A, user, received, NOW, read, NOW)


def chat(*events: MessageReceived | MarksChanged) -> Chat:
    made = Chat("alice")
    for event in events:
        made.happened(event, NOW)
    return made


def test_the_conversation_written_in_last_comes_first() -> None:
    made = chat(said(1))
    made.listed("alice:carol", 4, Message("carol", "later", NOW + 50, 4))
    made.listed("alice:dave", 9, Message("dave", "earlier", NOW - 50, 9))
    assert [one.peer for one in made.in_order()] == ["carol", "bob", "dave"]
    made.happened(said(2)._replace(time=NOW + 60), NOW)
    assert [one.peer for one in made.in_order()] == ["bob", "carol", "dave"]
    assert made.conversations["carol"].last == Message("carol", "later", NOW + 50, 4)


def test_what_came_after_the_last_that_was_read_is_unread() -> None:
    bob = chat(marks("alice", 3, 2), said(1), said(2), said(3), said(4)).conversations["bob"]
    assert bob.unread == 2
    assert bob.look_at(3) == 3
    assert bob.look_at(2) == 0, "that is no news"
    assert (bob.unread, bob.look_at(4), bob.unread) == (1, 4, 0)


def test_who_writes_has_read() -> None:
    assert chat(said(1), said(2), said(3, "alice")).conversations["bob"].unread == 0


def test_a_change_is_read_with_the_last_message() -> None:
    bob = chat(said(1), said(2, changes=1, version=2, body="hello")).conversations["bob"]
    assert bob.look_at(1) == 2


def test_the_line_for_new_messages_stands_where_a_person_had_read_to() -> None:
    made = chat(marks("alice", 1, 1), said(1), said(2))
    assert made.open("bob", NOW).new_after == 1
    made.conversations["bob"].look_at(2)
    assert made.conversations["bob"].new_after == 1, "it stays while they look"
    assert made.open("bob", NOW).new_after is None


def test_ticks_follow_the_marks() -> None:
    made = Chat("alice")
    made.submitted("bob", "key 1", "hi", 0, NOW)
    bob = made.conversations["bob"]

    def now() -> str:
        return fate(bob.messages[0], bob)

    assert now() == "waiting"
    made.happened(said(1, "alice"), NOW)
    assert (now(), len(bob.messages)) == ("sent", 1)
    made.happened(marks("bob", 1, 0), NOW)
    assert now() == "delivered"
    made.happened(marks("bob", 1, 1), NOW)
    assert now() == "read"
    made.happened(marks("bob", 1, 0), NOW)
    assert now() == "read", "a mark never falls"


def test_a_send_that_failed_says_why_and_stays_below() -> None:
    made = Chat("alice")
    made.submitted("bob", "key", "hi", 0, NOW)
    made.happened(SendFailed("key", "bob", "hi", MessengerError("too large")), NOW)
    made.happened(said(1), NOW)
    bob = made.conversations["bob"]
    assert [one.note for one in bob.messages] == ["", "not sent: too large"]
    assert fate(bob.messages[1], bob) == "failed"


def test_an_edit_and_a_deletion_change_a_message_and_are_none() -> None:
    edit = said(3, changes=1, version=3, body="one")
    bob = chat(said(1), said(2), edit, said(4, changes=2, version=4, body="", erased=True))
    one, two = bob.conversations["bob"].messages
    assert (one.body, one.version, two.erased) == ("one", 3, True)
    bob.happened(said(5, changes=2, version=5, body="again"), NOW)
    assert bob.conversations["bob"].messages[1].erased, "a deletion is final"
    bob.conversations["bob"].page(HistoryPage([said(1, body="older text")], 5, True))
    assert bob.conversations["bob"].messages[0].body == "one", "the later text counts"


def test_a_change_of_the_last_line_shows_in_the_list() -> None:
    made = Chat("alice")
    made.listed(A, 7, Message("bob", "old", NOW, 7))
    made.happened(said(8, changes=7, version=8, body="new"), NOW)
    last = made.conversations["bob"].last
    assert last is not None
    assert last.body == "new"


def test_a_change_without_an_answer_is_known_by_its_key() -> None:
    made = chat(said(1, "alice"))
    bob = made.conversations["bob"]
    made.submitted("bob", "change", "hello", 1, NOW)
    assert bob.changing == {"change": 1}
    made.failed("bob", "change", "too late")
    assert (bob.changing, bob.messages[0].note) == ({}, "not changed: too late")


def test_pages_go_before_and_old_messages_leave() -> None:
    made = chat(*(said(seq) for seq in range(11, KEPT + 20)))
    bob = made.conversations["bob"]
    assert (bob.numbered[0].seq, len(bob.numbered)) == (20, KEPT)
    bob.page(HistoryPage([said(seq) for seq in range(1, 20)], KEPT + 19, True))
    assert (bob.numbered[0].seq, bob.whole) == (1, True)
    made.happened(said(KEPT + 20), NOW)
    assert (bob.numbered[0].seq, bob.whole) == (2, False), "as many stay as a person scrolled to"


def test_presence_and_typing() -> None:
    made = chat(said(1))
    bob = made.conversations["bob"]
    made.happened(PresenceChanged("bob", True, 0), NOW)
    made.happened(PresenceChanged("stranger", True, 0), NOW)
    assert (presence(bob, NOW), list(made.conversations)) == ("online", ["bob"])
    made.happened(Typing(A, "bob"), NOW)
    assert presence(bob, NOW + TYPING_MS - 1) == "typing…"
    assert presence(bob, NOW + TYPING_MS) == "online"
    made.happened(said(2), NOW)
    assert presence(bob, NOW) == "online", "a message ends it"
    made.happened(PresenceChanged("bob", False, NOW - DAY), NOW)
    assert presence(bob, NOW) == "last seen yesterday at 12:00"
    made.happened(PersonChanged("bob", True, False), NOW)
    assert presence(bob, NOW) == "blocked"


def test_the_state_of_the_connection() -> None:
    made = Chat("alice")
    made.happened(StateChanged("stopped", 4501), NOW)
    assert (made.state, made.code) == ("stopped", 4501)


def test_days_and_times() -> None:
    assert [day(NOW - ago * DAY, NOW) for ago in (0, 1, 2, 7)] == [
        "Today",
        "Yesterday",
        "Saturday",
        "23 November 2026",
    ]
    assert [short_time(NOW - ago * DAY, NOW) for ago in (0, 6, 7)] == [
        "12:00",
        "Tuesday",
        "23.11.26",
    ]


def test_text_from_others_cannot_steer_the_terminal() -> None:
    assert plain("a\x1b[31mb\x9bc\rd\x07") == "a�[31mb�c�d�"
    assert plain("left \u202eright\u2066") == "left �right�", "nor turn what follows"
    assert plain("\N{WOMAN}\u200d\N{PERSONAL COMPUTER}\tx\ny") != "", "emoji and lines stay"
    assert line("one\n  two\u2028three") == "one two three"
