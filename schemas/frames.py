"""Socket frames of protocol version 1 (docs/PROTOCOL.md).

A WebSocket text message carries 1..n frames, one JSON object a line. Both sides ignore unknown
fields. The gateway answers an unknown frame type with code 101, the SDK leaves it out; so old and
new versions can talk. Outbox ids and idempotency keys are UUIDs as 32 lower-case hex digits. Times
are milliseconds since 1970. Sequence numbers and ordinals stay below 2**53, which JavaScript holds
exactly.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

CURRENT_VERSION = 1
LOWEST_VERSION = 1
"""The protocol version this code speaks, and the oldest one it accepts in a `hello`."""

MAX_BODY_BYTES = 16 * 1024
MAX_SOCKET_MESSAGE_BYTES = 256 * 1024
MAX_FRAMES = 2000
"""The most frames that a device may put into one WebSocket message."""
OUTBOX_WINDOW = 64
"""How many sends of one outbox and conversation may be unanswered at once."""

Ordinal = Annotated[int, Meta(ge=1, le=2**53 - 1)]
CommandId = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Round = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Cursor = Annotated[int, Meta(ge=0, le=2**53 - 1)]

MAX_PAGE_MESSAGES = 100
MAX_SYNC_CONVERSATIONS = 1000
MAX_HEADS = 1000
MAX_MARKED = 500
MAX_WATCHED = 200
MAX_PEOPLE = 2000
"""About how many others a user may decide something."""
MAX_QUESTIONS = 8
"""How many questions (`Question` below) of one session may be unanswered at once."""


class _Frame(Struct, tag_field="t", omit_defaults=True, gc=False, frozen=True):
    pass


# Commands: device to server.


class Hello(_Frame, tag="hello", frozen=True):
    """The first frame, sent once: which user and device this is. The answer is `welcome` or a close
    code. `stay` asks the node not to send the device to another node."""

    id: CommandId
    version: int
    token: str
    device: str
    stay: bool = False


class Send(_Frame, tag="send", frozen=True):
    """One message to the user `to`. The answer is `sent`, `refused`, `out_of_step`, or an `error`
    that names `to`, `outbox` and `ordinal`."""

    to: str
    outbox: str
    ordinal: Ordinal
    key: str
    body: str
    round: Round = 0


class Edit(_Frame, tag="edit", frozen=True):
    """A new text for the message `seq` that this user has sent to `to`: for everybody, and within a
    time. It is a send, with an ordinal of its own and the answers of `send`."""

    to: str
    outbox: str
    ordinal: Ordinal
    key: str
    seq: Annotated[int, Meta(ge=1, le=2**53 - 1)]
    body: str
    round: Round = 0


class Delete(_Frame, tag="delete", frozen=True):
    """Take the message `seq` away from everybody, otherwise as `edit`. It cannot be undone."""

    to: str
    outbox: str
    ordinal: Ordinal
    key: str
    seq: Annotated[int, Meta(ge=1, le=2**53 - 1)]
    round: Round = 0


class Sync(_Frame, tag="sync", frozen=True):
    """Which of my conversations have messages that this device lacks? The answer is `heads` or
    `error`.

    It covers the conversations with an id above `after` up to `until` (all, if empty). `cursors`:
    conversation → last seq the device has, for every conversation it knows in that range.
    """

    id: CommandId
    cursors: Annotated[dict[str, Cursor], Meta(max_length=MAX_SYNC_CONVERSATIONS)]
    after: str = ""
    until: str = ""


class History(_Frame, tag="history", frozen=True):
    """The newest messages below seq `before`, or the oldest above `after`. With neither, the newest
    of all. The answer is `page` or `error`."""

    id: CommandId
    conversation: str
    before: Annotated[int, Meta(ge=1, le=2**53 - 1)] | None = None
    after: Cursor | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE_MESSAGES)] = MAX_PAGE_MESSAGES


class Received(_Frame, tag="received", frozen=True):
    """This device has shown all messages of the conversation up to `seq`. Cumulative. The only
    answer is an `error`."""

    conversation: str
    seq: Annotated[int, Meta(ge=1, le=2**53 - 1)]


class Read(_Frame, tag="read", frozen=True):
    """The person has read all messages up to `seq` on this device. It implies `received`."""

    conversation: str
    seq: Annotated[int, Meta(ge=1, le=2**53 - 1)]


class GetMarks(_Frame, tag="get_marks", frozen=True):
    """What have both users received and read in these conversations? The answer is `marks` or
    `error`."""

    id: CommandId
    conversations: Annotated[list[str], Meta(max_length=MAX_MARKED)]


class Watch(_Frame, tag="watch", frozen=True):
    """Send this device the presence of these users, and of no others. The answer is `presences` or
    `error`. The server leaves out users with whom this user has no conversation."""

    id: CommandId
    users: Annotated[list[str], Meta(max_length=MAX_WATCHED)]


class Block(_Frame, tag="block", frozen=True):
    """From now on `user` cannot write to me, and sees neither my presence nor that I am typing or
    have read. The answer is `person` or `error`."""

    id: CommandId
    user: str


class Unblock(_Frame, tag="unblock", frozen=True):
    """It is as before the `block`. The answer is `person` or `error`."""

    id: CommandId
    user: str


class AddContact(_Frame, tag="add_contact", frozen=True):
    """`user` is a contact of mine. The answer is `person` or `error`."""

    id: CommandId
    user: str


class Decline(_Frame, tag="decline", frozen=True):
    """The request of `user` is not accepted: they may send nothing more, and are not told.
    `add_contact` accepts it. The answer is `person` or `error`."""

    id: CommandId
    user: str


class RemoveContact(_Frame, tag="remove_contact", frozen=True):
    """`user` is no contact of mine any more. The answer is `person` or `error`."""

    id: CommandId
    user: str


Shown = Literal["everyone", "contacts", "nobody"]


class SetPrivacy(_Frame, tag="set_privacy", frozen=True):
    """Who sees whether I am there, when I was seen last and that I type (`presence`), and whether
    others see what I have read (`reads`). The answer is `privacy` or `error`."""

    id: CommandId
    presence: Shown = "everyone"
    reads: bool = True


class GetPeople(_Frame, tag="get_people", frozen=True):
    """What have I decided about others? The answer is `people` or `error`."""

    id: CommandId


class Typing(_Frame, tag="typing", frozen=True):
    """The person is writing. A device repeats it every few seconds. The only answer is an
    `error`."""

    conversation: str


class Ping(_Frame, tag="ping", frozen=True):
    """A sign of life. The answer is `pong` with the same id."""

    id: CommandId


class Renew(_Frame, tag="renew", frozen=True):
    """A fresh token of the same user, for the same device. The answer is `renewed` or `error`."""

    id: CommandId
    token: str


# Replies and pushes: server to device.


class Welcome(_Frame, tag="welcome", frozen=True):
    """The gateway accepted the session.

    `log` names one numbering of messages: a device that knew another log id drops its cursors and
    keeps its outbox. `time` is the server's clock in ms. `heartbeat` is the number of seconds
    between the server's pings.
    """

    id: int
    version: int
    user: str
    device: str
    node: str
    log: str
    time: int
    heartbeat: float


class Sent(_Frame, tag="sent", frozen=True):
    """The message has its sequence number. A repeat of the send gets the same answer."""

    conversation: str
    outbox: str
    ordinal: int
    key: str
    seq: int
    time: int


class Refused(_Frame, tag="refused", frozen=True):
    """A final refusal used up the ordinal. `code` is a reply code."""

    conversation: str
    outbox: str
    ordinal: int
    key: str
    code: int
    time: int


class OutOfStep(_Frame, tag="out_of_step", frozen=True):
    """The server did not take the ordinal. It expects the ordinal `next`.

    reason "gap": the server lacks something before the ordinal; "reused": the ordinal belongs to
    another key; "too_old": the ordinal is older than the last 64. The device acts on it only if
    `round` is its current transmission round.
    """

    conversation: str
    outbox: str
    ordinal: int
    key: str
    round: int
    next: int
    reason: str


class Message(_Frame, tag="message", rename={"sender": "from"}, frozen=True):
    """One message of a conversation. By `key` the sender's devices recognise their own. An `erased`
    message has an empty body.

    With `changes` it is a change: that earlier message has the text `body` now, or is deleted
    (`erased`). `version`: `body` and `erased` are those of the change with this number (0: of
    none).
    """

    conversation: str
    seq: int
    sender: str
    key: str
    time: int
    body: str
    erased: bool = False
    changes: int = 0
    version: int = 0


class Heads(_Frame, tag="heads", frozen=True):
    """`heads`: conversation → last seq, for each conversation with messages beyond the device's
    cursor.

    `next`, if not empty: there may be more, send `sync` with it as `after`. `pending`: the answer
    may lack conversations, since some partition could not answer; ask again.
    """

    id: int
    heads: dict[str, int]
    next: str = ""
    pending: bool = False


class Mark(_Frame, tag="mark", frozen=True):
    """Up to which seq `user` has received and read a conversation, on any device, and the times
    (ms) of the receipts that said so (0: never).

    The other user's devices get it; the user's own get it when `read` has moved. It is a claim of
    devices: show the smaller of it and the last seq known.
    """

    conversation: str
    user: str
    received: int
    received_at: int
    read: int
    read_at: int


class Marks(_Frame, tag="marks", frozen=True):
    """The marks of both users of each conversation in the question, without users that have none.
    `pending`: some are missing, ask again."""

    id: int
    marks: list[Mark]
    pending: bool = False


class Presence(_Frame, tag="presence", frozen=True):
    """Whether a watched user has a device online. If not, `last_seen` (ms) says until when there
    was one (0: never)."""

    user: str
    online: bool
    last_seen: int


class Presences(_Frame, tag="presences", frozen=True):
    """The presence of the users that this device watches now. `pending`: some are missing, send
    `watch` again."""

    id: int
    users: list[Presence]
    pending: bool = False


class Person(_Frame, tag="person", frozen=True):
    """What this user has decided about `user`, on any device. `request`: `user` has sent a first
    message, and waits for a decision. With `id` it is the answer to this device, else a push to all
    of them."""

    user: str
    blocked: bool = False
    contact: bool = False
    request: bool = False
    id: int | None = None


class Privacy(_Frame, tag="privacy", frozen=True):
    """What this user shows to others. With `id` it is the answer to this device, else a push to all
    of the user's."""

    presence: Shown = "everyone"
    reads: bool = True
    id: int | None = None


class People(_Frame, tag="people", frozen=True):
    """All users about whom this user has decided something, and what is shown to others."""

    id: int
    people: list[Person]
    privacy: Privacy = Privacy()


class UserTyping(_Frame, tag="user_typing", frozen=True):
    """`user` is writing. Stop showing it at the user's next message, or some seconds after the last
    of these frames."""

    conversation: str
    user: str


class Resync(_Frame, tag="resync", frozen=True):
    """The device may have missed pushes, since Redis lacked its route for a while. The device sends
    `sync` as after a `welcome`."""


class Page(_Frame, tag="page", frozen=True):
    """Messages in order, without a hole. There are fewer than `limit` if they are large or do not
    exist yet.

    `known` is the last seq that the server knows now. `first`: the server keeps nothing before
    these messages.
    """

    id: int
    conversation: str
    known: int
    messages: list[Message]
    first: bool = False


class Pong(_Frame, tag="pong", frozen=True):
    id: int


class TokenExpires(_Frame, tag="token_expires", frozen=True):
    """The session's token is good until `expires` (ms): the device sends `renew` before that, or
    the server closes the session."""

    expires: int


class Renewed(_Frame, tag="renewed", frozen=True):
    """The fresh token counts from now on, until `expires` (ms)."""

    id: int
    expires: int


class Error(_Frame, tag="error", frozen=True):
    """The gateway did not carry out a command. `id`, or `to`, `outbox` and `ordinal`, name the
    command if the gateway could read them. `code` is a reply code. `retry_after`: the milliseconds
    after which the command may succeed."""

    code: int
    retry: bool
    reason: str
    id: int | None = None
    to: str | None = None
    outbox: str | None = None
    ordinal: int | None = None
    retry_after: int | None = None


Decision = Block | Unblock | AddContact | RemoveContact | Decline | SetPrivacy
"""Commands by which a user decides something about others."""
Question = Sync | History | GetMarks | Watch | GetPeople | Decision
"""Commands for whose answer the gateway asks workers or the archive."""
Command = Hello | Send | Edit | Delete | Received | Read | Typing | Question | Ping | Renew
ServerFrame = (
    Welcome
    | Sent
    | Refused
    | OutOfStep
    | Message
    | Heads
    | Page
    | Mark
    | Marks
    | Presence
    | Presences
    | Person
    | Privacy
    | People
    | UserTyping
    | Resync
    | Pong
    | TokenExpires
    | Renewed
    | Error
)
