"""What a session asks its connection to do: one effect for each frame of a device."""

from typing import NamedTuple

from schemas import frames, ids
from schemas.codes import Close
from schemas.events import MessageSubmitted, SubmittedItem


class Reply(NamedTuple):
    """Send this frame to the device."""

    frame: bytes


class Greet(NamedTuple):
    """The hello is good: register the session and its route, then send the welcome."""

    id: int
    user: ids.UserId
    device: ids.DeviceId
    stay: bool


class Renew(NamedTuple):
    """A fresh token has taken the place of the session's. It is good until `expires` (Unix s)."""

    id: int
    expires: float


class Submit(NamedTuple):
    """Hand the item to Kafka; `to` is the user whom the device named. `opens`: the session has not
    sent to this user, or from this outbox, a moment ago."""

    item: SubmittedItem
    to: str
    opens: bool


class Change(NamedTuple):
    """As Submit, if the user may change message `seq` of the item's conversation."""

    item: MessageSubmitted
    to: str
    opens: bool
    seq: int


class Ask(NamedTuple):
    """Find the answer elsewhere, and send it. The question names conversations of this user
    only."""

    question: frames.Question


class Type(NamedTuple):
    """The person is writing in the conversation."""

    conversation: str


class GiveReceipt(NamedTuple):
    """The device has received, or (`read`) the person has read, the messages up to `seq`."""

    conversation: str
    seq: int
    read: bool


class End(NamedTuple):
    """Close the connection."""

    close: Close


Effect = Reply | Greet | Renew | Submit | Change | GiveReceipt | Type | Ask | End
