"""What must hold of `notifications` when nothing is left to do."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from schemas.codec import decode_notification
from schemas.events import NotificationRaised
from schemas.ids import members_of_valid
from schemas.topics import NOTIFICATIONS

if TYPE_CHECKING:
    from simulation.judged_apps import Truth
    from simulation.world import World


def wrong(world: "World", truth: "Truth") -> Iterator[str]:
    """A notification is of a message of the log, for whom it was written to, and over when that
    user has read it. Who was away throughout has one of each message."""
    over: dict[tuple[str, str], int] = {}
    raised: dict[tuple[str, str], dict[int, NotificationRaised]] = {}
    for number in range(world.shape.partitions):
        for record in world.broker.read_all(NOTIFICATIONS, number):
            one = decode_notification(record.value).notification
            place = one.conversation, one.user
            if not isinstance(one, NotificationRaised):
                over[place] = max(one.up_to, over.get(place, 0))
            elif raised.setdefault(place, {}).setdefault(one.seq, one).sender != one.sender:
                yield f"{NOTIFICATIONS} has two senders of {one.conversation} {one.seq}"
    for place, those in raised.items():
        conversation, user = place
        messages = {one.seq: one for one in truth.messages.get(conversation, ()) if not one.changes}
        for seq, one in those.items():
            if seq not in messages or not (messages[seq].sender == one.sender != user):
                yield f"{NOTIFICATIONS} has {one}; the log does not"
        read = truth.marks.get(place, (0, 0))[1]
        must_be_over = max((seq for seq in those if seq <= read), default=0)
        if not must_be_over <= over.get(place, 0) <= read:
            yield (
                f"notifications of {user} in {conversation} are over up to {over.get(place, 0)};"
                f" {user} has read up to {read}"
            )
    for conversation, shown in truth.messages.items():
        for user in set(members_of_valid(conversation)).intersection(world.shape.away):
            must = [(one.seq, one.seq) for one in shown if one.sender != user and not one.changes]
            found = raised.get((conversation, user), {})
            if (is_ := [(seq, found[seq].unread) for seq in sorted(found)]) != must:
                yield (
                    f"{user}, who was never here, is notified of {conversation} {is_} (message,"
                    f" unread), and not of {must}"
                )
