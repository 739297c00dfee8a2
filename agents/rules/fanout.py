"""What the devices get of a fold's outcome: finished frames, grouped by the gateway slots that
serve the devices."""

from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from agents.rules.fold import OutOfStep, Repeat
from schemas import frames
from schemas.codec import encode_frame
from schemas.events import AnswerDelivered, Delivered, MessageDelivered, Taken
from schemas.ids import members_of_valid, peer_of

Routes = Mapping[str, Sequence[tuple[str, int]]]
"""user → (device, slot) of each connected device."""


def users_of(taken: Iterable[Taken], answers: Iterable[Repeat | OutOfStep]) -> set[str]:
    """The users whose routes are needed: both users of a message, the sender of anything else."""
    users: set[str] = set()
    for conversation in {item.conversation for item in taken}:
        users.update(members_of_valid(conversation))
    users.update(answer.item.sender for answer in answers)
    return users


def begun_in(taken: Iterable[Taken]) -> list[str]:
    """The users of the conversations that begin, two for each."""
    return [user for item in taken if item.seq == 1 for user in members_of_valid(item.conversation)]


def deliveries(
    taken: Iterable[Taken], answers: Iterable[Repeat | OutOfStep], routes: Routes
) -> dict[int, list[Delivered]]:
    """Slot → events, in the order of the outcome. A user without a route gets nothing."""
    slots: dict[int, list[Delivered]] = {}
    for item in taken:
        sender, conversation, seq = item.sender, item.conversation, item.seq
        users_by_slot: dict[int, list[str]] = {}
        for device, slot in routes.get(sender, ()):
            if device == item.device:
                slots.setdefault(slot, []).append(
                    AnswerDelivered(sender, device, _taken_frame(item))
                )
            elif seq and slot not in users_by_slot:
                users_by_slot[slot] = [sender]
        if not seq:
            continue
        recipient = peer_of(conversation, sender)
        for _, slot in routes.get(recipient, ()):
            users = users_by_slot.get(slot)
            if users is None:
                users_by_slot[slot] = [recipient]
            elif recipient not in users:
                users.append(recipient)
        if users_by_slot:
            frame = message_frame(item)
            for slot, users in users_by_slot.items():
                slots.setdefault(slot, []).append(
                    MessageDelivered(conversation, seq, sender, item.device, users, frame)
                )
    for answer in answers:
        for device, slot in routes.get(answer.item.sender, ()):
            if device == answer.item.device:
                slots.setdefault(slot, []).append(
                    AnswerDelivered(answer.item.sender, device, answer_frame(answer))
                )
    return slots


def message_frame(item: Taken) -> bytes:
    """The push of a taken message."""
    if item.changes is not None:
        return encode_frame(_message(item))
    return encode_frame(
        frames.Message(
            item.conversation, item.seq, item.sender, item.key.hex(), item.time, item.body
        )
    )


def current_frame(item: Taken, change: Taken | None) -> bytes:
    """A taken message for a page: with what its last change, if there is one, says of it."""
    if change is None:
        return message_frame(item)
    body, version = change.body, change.seq
    return encode_frame(replace(_message(item), body=body, erased=not body, version=version))


def _message(item: Taken) -> frames.Message:
    head = item.conversation, item.seq, item.sender, item.key.hex(), item.time, item.body
    if item.changes is None:
        return frames.Message(*head)
    return frames.Message(*head, erased=not item.body, changes=item.changes.seq, version=item.seq)


def answer_frame(answer: Repeat | OutOfStep) -> bytes:
    """The reply to a send that the fold did not take this time."""
    item = answer.item
    if isinstance(answer, OutOfStep):
        return encode_frame(
            frames.OutOfStep(
                item.conversation,
                item.outbox.hex(),
                item.ordinal,
                item.key.hex(),
                item.round,
                answer.next,
                answer.reason,
            )
        )
    first = answer.answer
    return _reply(
        item.conversation, item.outbox, item.ordinal, item.key, first.seq, first.code, first.time
    )


def _taken_frame(item: Taken) -> bytes:
    return _reply(
        item.conversation, item.outbox, item.ordinal, item.key, item.seq, item.code, item.time
    )


def _reply(
    conversation: str, outbox: bytes, ordinal: int, key: bytes, seq: int, code: int, time: int
) -> bytes:
    if code:
        return encode_frame(
            frames.Refused(conversation, outbox.hex(), ordinal, key.hex(), code, time)
        )
    return encode_frame(frames.Sent(conversation, outbox.hex(), ordinal, key.hex(), seq, time))
