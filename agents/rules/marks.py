"""Which gateway slots are told of a user's marks: a finished frame for the devices of both
users."""

from collections.abc import Iterable

from agents.rules.fanout import Routes
from schemas.codec import encode_frame
from schemas.events import MarkDelivered
from schemas.frames import Mark
from schemas.ids import members_of_valid


def deliveries(
    marks: Iterable[tuple[Mark, bool]], routes: Routes
) -> dict[int, list[MarkDelivered]]:
    """Slot → events. Each mark comes with whether the user's own devices need it, too. A user
    without a route gets nothing."""
    slots: dict[int, list[MarkDelivered]] = {}
    for mark, own in marks:
        frame = encode_frame(mark)
        users_by_slot: dict[int, list[str]] = {}
        for user in members_of_valid(mark.conversation):
            if user == mark.user and not own:
                continue
            for _, slot in routes.get(user, ()):
                users = users_by_slot.setdefault(slot, [])
                if user not in users:
                    users.append(user)
        for slot, users in users_by_slot.items():
            slots.setdefault(slot, []).append(MarkDelivered(users, frame, mark.user))
    return slots
