"""What happens to a device. The application gets each `Event`; an `Ended` is the result of one of
its calls, which gets it from the client."""

from typing import NamedTuple

from messenger_sdk.errors import DecisionRefused, HistoryRefused, MessengerError
from messenger_sdk.outbox import SendEnded
from schemas import frames


class MessageReceived(NamedTuple):
    """A message of this user's conversations. Each comes once and in order, also what was sent
    while this device was away. `missing`: how many before it the server can no longer give; an
    `erased` one has no body.

    With `changes` it is a change: the message with that number has the text `body` now, or is gone
    (`erased`). `version`: this text is that of the change with this number, 0 if of none. Of two
    texts the one with the higher version counts, and an erased message stays erased.
    """

    conversation: str
    seq: int
    sender: str
    key: str
    time: int
    body: str
    missing: int
    erased: bool = False
    changes: int = 0
    version: int = 0


def received(message: frames.Message, missing: int = 0) -> MessageReceived:
    """A message as the application sees it."""
    return MessageReceived(
        message.conversation,
        message.seq,
        message.sender,
        message.key,
        message.time,
        message.body,
        missing,
        message.erased,
        message.changes,
        message.version,
    )


class HistoryPage(NamedTuple):
    """Messages in order, without a hole. `known`: the last seq there is; `first`: nothing before
    them is kept."""

    messages: list[MessageReceived]
    known: int
    first: bool


class StateChanged(NamedTuple):
    """state: connecting, online, waiting or stopped; `code` is the close code that led to it, 0 if
    none."""

    state: str
    code: int


class MarksChanged(NamedTuple):
    """Up to which seq `user`, one of the two of a conversation, has received and read, and when
    (ms; 0: never). No seq is above the last that this device knows of."""

    conversation: str
    user: str
    received: int
    received_at: int
    read: int
    read_at: int


class PresenceChanged(NamedTuple):
    """A watched user has come or gone; `last_seen` in ms, if offline (0: never)."""

    user: str
    online: bool
    last_seen: int


class Typing(NamedTuple):
    """A watched user is writing in the conversation: until their next message, or for some
    seconds."""

    conversation: str
    user: str


class PersonChanged(NamedTuple):
    """What this user has decided about `user`, on any device. `request`: `user`, a stranger, has
    sent a first message and waits."""

    user: str
    blocked: bool
    contact: bool
    request: bool = False


class PrivacyChanged(NamedTuple):
    """What this user shows to others. `presence`: whether they are there, were seen last and type,
    to "everyone", "contacts" or "nobody"; `reads`: what they have read."""

    presence: frames.Shown
    reads: bool


class SendFailed(NamedTuple):
    """A send from before this start has failed. Nobody waits for its result."""

    key: str
    to: str
    body: str
    error: MessengerError


class TokenExpires(NamedTuple):
    """The session's token is good until `expires` (ms): the device needs a fresh one."""

    expires: int


class HistoryEnded(NamedTuple):
    """The question with this id has its result."""

    id: int
    result: HistoryPage | HistoryRefused


class DecisionEnded(NamedTuple):
    """A decision counts, or is refused. `about`: its kind, and about whom."""

    about: tuple[str, str]
    result: PersonChanged | PrivacyChanged | DecisionRefused


Ended = SendEnded | HistoryEnded | DecisionEnded | TokenExpires
Event = (
    MessageReceived
    | StateChanged
    | MarksChanged
    | PresenceChanged
    | PersonChanged
    | PrivacyChanged
    | Typing
    | SendFailed
)
