"""Who is notified of what, and when that is over: the decisions."""

from agents.rules.cursors import NONE, Cursor, CursorId, Outcome, fold_receipts
from agents.rules.notifications import OLDEST_MS, to_look_at
from schemas.events import (
    Changed,
    DeviceForgotten,
    Notification,
    NotificationRaised,
    NotificationsCancelled,
    Receipt,
    Taken,
    Unreached,
)

A = "alice:bob"
NOW = 1_800_000_000_000


def unreached(seq: int) -> Unreached:
    return Unreached(A, "bob", "alice", seq, NOW, "")


def read(seq: int) -> Receipt:
    return Receipt(A, "bob", "phone", seq, True)


def received(seq: int) -> Receipt:
    return Receipt(A, "bob", "phone", seq, False)


def raised(seq: int, unread: int) -> NotificationRaised:
    return NotificationRaised(A, "bob", "alice", seq, NOW, unread, "")


def over(up_to: int, unread: int) -> NotificationsCancelled:
    return NotificationsCancelled(A, "bob", up_to, unread)


class Cursors:
    """The table."""

    def __init__(self) -> None:
        self.known: dict[CursorId, Cursor] = {}

    def get(self, cursor: CursorId) -> tuple[int, int]:
        return self.known.get(cursor, NONE)

    def of_device(self, user: str, device: str) -> list[CursorId]:
        return [cursor for cursor in self.known if cursor[1:] == (user, device)]

    def fold(self, *items: Receipt | Unreached | DeviceForgotten) -> list[Notification]:
        outcome = Outcome({}, {}, [])
        fold_receipts(self, [(item, 1) for item in items], outcome)
        self.known |= outcome.changed
        return outcome.notifications


def both_ways(
    *items: Receipt | Unreached | DeviceForgotten,
) -> list[Notification]:
    """What is said of facts, whether they come together or one by one."""
    together, one_by_one = Cursors(), Cursors()
    said = together.fold(*items)
    assert said == [one for item in items for one in one_by_one.fold(item)]
    return said


def test_each_message_that_finds_nobody_is_notified_of_once() -> None:
    said = both_ways(unreached(1), unreached(2), unreached(2), unreached(1), unreached(3))
    assert said == [raised(1, 1), raised(2, 2), raised(3, 3)]


def test_the_badge_counts_what_is_not_read() -> None:
    assert both_ways(read(5), unreached(6), unreached(8)) == [raised(6, 1), raised(8, 3)]


def test_what_a_device_has_meanwhile_is_not_notified_of() -> None:
    assert both_ways(received(2), unreached(1), unreached(2), unreached(3)) == [raised(3, 3)]
    assert both_ways(read(2), unreached(2)) == []


def test_reading_cancels_once_and_counts_what_is_left() -> None:
    assert both_ways(unreached(1), unreached(2), read(1), read(1), read(2), read(3)) == [
        *(raised(1, 1), raised(2, 2)),
        *(over(1, 1), over(2, 0)),
    ]


def test_a_claim_counts_up_to_the_last_notification() -> None:
    assert both_ways(unreached(1), read(2**40))[1:] == [over(1, 0)]


def test_receiving_cancels_nothing_and_a_device_that_is_logged_out_changes_nothing() -> None:
    said = both_ways(unreached(1), received(1), DeviceForgotten("bob", "phone"), unreached(1))
    assert said == [raised(1, 1)]


def taken(seq: int, sender: str = "alice", **others: object) -> Taken:
    fields = {"time": NOW, "body": "Lunch at noon?", "changes": None, "conversation": A} | others
    return Taken(
        *(0, fields["time"], fields["conversation"], sender, "phone", b"o" * 16, 1),  # type: ignore[arg-type]
        *(b"k" * 16, seq, 0, fields["body"], fields["changes"]),  # type: ignore[arg-type]
    )


def test_messages_are_looked_at_and_refusals_changes_and_old_ones_are_not() -> None:
    found = to_look_at(
        [
            taken(1),
            taken(0),
            taken(2, changes=Changed(1, b"k" * 16, NOW)),
            taken(3, sender="bob"),
            taken(4, time=NOW - OLDEST_MS),
        ],
        NOW,
        0,
    )
    assert [(one.seq, one.user, one.sender) for one in found] == [
        (1, "bob", "alice"),
        (3, "alice", "bob"),
    ]


def test_nobody_is_notified_of_a_probe() -> None:
    others = ["probe-3:probe-3.12", "alice:probe-3", "probe-3.1:probe-3.2", "probe-x:probe-x.1"]
    found = to_look_at(
        [taken(1, conversation=one, sender=one.split(":")[0]) for one in others], NOW, 0
    )
    assert [one.conversation for one in found] == others[1:], "people may have such names"


def test_so_much_of_a_text_goes_along_as_the_operator_allows() -> None:
    assert [to_look_at([taken(1)], NOW, most)[0].text for most in (0, 5, 100)] == [
        *("", "Lunch", "Lunch at noon?")
    ]
