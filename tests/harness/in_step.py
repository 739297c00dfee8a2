"""What must be equal at the end: every device, whatever became of it meanwhile, shows what the log
says."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from messenger_sdk import Client
from schemas.codec import decode_receipts
from schemas.events import Receipt
from schemas.ids import members_of_valid


class Shown(NamedTuple):
    """A message as a device shows it."""

    seq: int
    sender: str
    key: str
    body: str


Marks = tuple[int, int]
"""(received, read)."""


class View(NamedTuple):
    """What a device shows. `name` is user/device; `history`: conversation → what is up to it was
    there before the device began; `marks` by (conversation, user); `presence`: user → (online, last
    seen) of those it watches."""

    name: str
    messages: Mapping[str, Sequence[Shown]]
    history: Mapping[str, int]
    marks: Mapping[tuple[str, str], Marks]
    unread: Mapping[str, int]
    presence: Mapping[str, tuple[bool, int]]

    @classmethod
    def of(
        cls,
        client: Client,
        name: str,
        messages: Mapping[str, Sequence[Shown]],
        history: Mapping[str, int],
    ) -> "View":
        """What a client shows, besides the messages that it has told of."""
        conversations = list(client.device.cursors())
        marks = {
            (name, user): client.device.mark(name, user)
            for name in conversations
            for user in members_of_valid(name)
        }
        return cls(
            name,
            messages,
            history,
            {place: (mark.received, mark.read) for place, mark in marks.items()},
            {conversation: client.device.unread(conversation) for conversation in conversations},
            {
                user: (known.online, known.last_seen)
                for user, known in client.device.presence.items()
            },
        )

    @property
    def user(self) -> str:
        return self.name.split("/")[0]


class Truth(NamedTuple):
    """The log by conversation, the highest claim of any device that the servers have taken, and who
    is connected."""

    log: Mapping[str, Sequence[Shown]]
    marks: Mapping[tuple[str, str], Marks]
    online: Mapping[str, bool]


def raise_marks(marks: dict[tuple[str, str], Marks], record: bytes) -> None:
    """The highest claims, with those of a record of `receipts.submitted`."""
    for item in decode_receipts(record).items:
        if isinstance(item, Receipt):
            received, read = marks.get((item.conversation, item.user), (0, 0))
            marks[item.conversation, item.user] = (
                max(received, item.seq),
                max(read, item.seq) if item.read else read,
            )


def differences(truth: Truth, views: Sequence[View]) -> list[str]:
    """Whatever a device shows that is not so."""
    wrong: list[str] = []
    last_seen: dict[str, int] = {}
    for conversation, messages in truth.log.items():
        if [message.seq for message in messages] != list(range(1, len(messages) + 1)):
            wrong.append(f"the log of {conversation} is not 1, 2, 3 …")
    for view in views:
        mine = {
            name: messages
            for name, messages in truth.log.items()
            if view.user in members_of_valid(name)
        }
        wrong += [
            f"{view.name} shows {name}, which is not its user's"
            for name in view.messages
            if name not in mine
        ]
        for name, messages in mine.items():
            other = next(user for user in members_of_valid(name) if user != view.user)
            wrong += [f"{view.name}: {fault}" for fault in _messages(name, view, messages)]
            marks, shown = (
                truth.marks.get((name, other), (0, 0)),
                view.marks.get((name, other), (0, 0)),
            )
            if shown != marks:
                wrong.append(f"{view.name} shows {shown} of {other} in {name}, and it is {marks}")
            read = truth.marks.get((name, view.user), (0, 0))[1]
            if view.unread.get(name) != len(messages) - read:
                wrong.append(
                    f"{view.name}: {view.unread.get(name)} of {name} are unread, {read} of "
                    f"{len(messages)} are read"
                )
            if any(
                message.sender == view.user and message.seq > read
                for message in view.messages.get(name, ())
            ):
                wrong.append(f"{view.name}: what {view.user} wrote in {name} is unread")
            online, seen = view.presence.get(other, (None, 0))
            if online != truth.online[other]:
                wrong.append(
                    f"{view.name} shows {other} online: {online}, and it is {truth.online[other]}"
                )
            elif seen != last_seen.setdefault(other, seen):
                wrong.append(
                    f"{view.name} shows {other} last seen at {seen}, another device at "
                    f"{last_seen[other]}"
                )
    return wrong


def _messages(name: str, view: View, messages: Sequence[Shown]) -> list[str]:
    shown = list(view.messages.get(name, ()))
    begun = shown[0].seq - 1 if shown else len(messages)
    if begun > view.history.get(name, 0):
        return [
            f"of {name} it shows nothing up to {begun}, and history is what is up to "
            f"{view.history.get(name, 0)}"
        ]
    if [*messages[:begun], *shown] != list(messages):
        return [
            f"of {name} it shows {[message.seq for message in shown]}, and the log has "
            f"{len(messages)}"
        ]
    return []
