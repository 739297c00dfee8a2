"""Socket frames of protocol version 1 (docs/PROTOCOL.md).

A WebSocket text message carries 1..n frames, one JSON object a line. Unknown fields are ignored,
unknown frame types answered with code 101: old and new can talk. Outbox ids and idempotency keys
are UUIDs as 32 lower-case hex digits; times are milliseconds since 1970 in log time; sequence
numbers and ordinals stay below 2**53.
"""

from typing import Annotated

from msgspec import Meta, Struct

CURRENT_VERSION = 1
LOWEST_VERSION = 1
"""What this code speaks, and the oldest version it still understands; the hello names the
device's."""

MAX_BODY_BYTES = 16 * 1024
MAX_SOCKET_MESSAGE_BYTES = 256 * 1024
MAX_FRAMES = 2000
"""Frames of a device in one WebSocket message."""
OUTBOX_WINDOW = 64
"""Sends of one outbox and conversation that may be unanswered at once."""

Ordinal = Annotated[int, Meta(ge=1, le=2**53 - 1)]
CommandId = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Round = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Cursor = Annotated[int, Meta(ge=0, le=2**53 - 1)]

MAX_PAGE_MESSAGES = 100
MAX_SYNC_CONVERSATIONS = 1000
MAX_HEADS = 1000
MAX_MARKED = 500
MAX_WATCHED = 200
MAX_QUESTIONS = 8
"""`sync` and `history` of one session that may be unanswered at once."""


class _Frame(Struct, tag_field="t", omit_defaults=True, gc=False, frozen=True):
    pass


# Commands: device to server.


class Hello(_Frame, tag="hello", frozen=True):
    """The first frame, once: who this is. Answered by `welcome` or a close code. `stay`: do not
    send me to another node."""

    id: CommandId
    version: int
    token: str
    device: str
    stay: bool = False


class Send(_Frame, tag="send", frozen=True):
    """One message to `to`. Answered by `sent`, `refused`, `out_of_step`, or an `error` that names
    outbox and ordinal."""

    to: str
    outbox: str
    ordinal: Ordinal
    key: str
    body: str
    round: Round = 0


class Sync(_Frame, tag="sync", frozen=True):
    """What is new in my conversations after `after` up to `until` by id (all, if empty)? Answered
    by `heads` or `error`.

    `cursors`: conversation → last seq the device has, of all it knows in that stretch.
    """

    id: CommandId
    cursors: Annotated[dict[str, Cursor], Meta(max_length=MAX_SYNC_CONVERSATIONS)]
    after: str = ""
    until: str = ""


class History(_Frame, tag="history", frozen=True):
    """The newest messages below seq `before`, or the oldest above `after`; of neither, the newest.

    Answered by `page` or `error`.
    """

    id: CommandId
    conversation: str
    before: Annotated[int, Meta(ge=1, le=2**53 - 1)] | None = None
    after: Cursor | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE_MESSAGES)] = MAX_PAGE_MESSAGES


class Received(_Frame, tag="received", frozen=True):
    """This device has all messages of the conversation up to `seq`. Cumulative; no answer, save an
    `error`."""

    conversation: str
    seq: Annotated[int, Meta(ge=1, le=2**53 - 1)]


class Read(_Frame, tag="read", frozen=True):
    """The person has read, on this device, all up to `seq`. It says `received`, too."""

    conversation: str
    seq: Annotated[int, Meta(ge=1, le=2**53 - 1)]


class GetMarks(_Frame, tag="get_marks", frozen=True):
    """What has been received and read in these conversations? Answered by `marks` or `error`."""

    id: CommandId
    conversations: Annotated[list[str], Meta(max_length=MAX_MARKED)]


class Watch(_Frame, tag="watch", frozen=True):
    """This device wants to know of the presence of these users, and of no others; answered by
    `presences` or `error`.

    Of those the user has no conversation with, nothing is told.
    """

    id: CommandId
    users: Annotated[list[str], Meta(max_length=MAX_WATCHED)]


class Typing(_Frame, tag="typing", frozen=True):
    """The person is writing. No answer, save an `error`; say it again every few seconds while it is
    so."""

    conversation: str


class Ping(_Frame, tag="ping", frozen=True):
    """A sign of life. Answered by `pong` with the same id."""

    id: CommandId


# Replies and pushes: server to device.


class Welcome(_Frame, tag="welcome", frozen=True):
    """The session stands. `log` names one numbering of messages: another log id means drop cursors,
    keep the outbox.

    `time` is the server's clock in ms, `heartbeat` how often in seconds the server pings (and
    expects life).
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
    """The message has its sequence number; a repeat gets the same answer."""

    conversation: str
    outbox: str
    ordinal: int
    key: str
    seq: int
    time: int


class Refused(_Frame, tag="refused", frozen=True):
    """The ordinal is used up by a final refusal; `code` is a reply code."""

    conversation: str
    outbox: str
    ordinal: int
    key: str
    code: int
    time: int


class OutOfStep(_Frame, tag="out_of_step", frozen=True):
    """The ordinal was not taken. `next` is the one the server expects.

    reason "gap": something before it was lost, send again from `next`; "reused": the ordinal
    belongs to another key; "too_old": answered longer ago than the last 64. Holds for the
    transmission round it echoes only.
    """

    conversation: str
    outbox: str
    ordinal: int
    key: str
    round: int
    next: int
    reason: str


class Message(_Frame, tag="message", rename={"sender": "from"}, frozen=True):
    """One message of a conversation; `key` lets the sender's own devices recognise it. An `erased`
    one has lost its body."""

    conversation: str
    seq: int
    sender: str
    key: str
    time: int
    body: str
    erased: bool = False


class Heads(_Frame, tag="heads", frozen=True):
    """conversation → last seq, of those that have gone on after the device's cursor.

    `next`: there may be more after it. `pending`: some conversations up to there could not be asked
    after now; ask again.
    """

    id: int
    heads: dict[str, int]
    next: str = ""
    pending: bool = False


class Mark(_Frame, tag="mark", frozen=True):
    """What `user` has received and read of a conversation, on any device, and since when (ms; 0:
    never).

    To the other user's devices, and when something was read to the user's own. A claim of devices:
    show no more than there is.
    """

    conversation: str
    user: str
    received: int
    received_at: int
    read: int
    read_at: int


class Marks(_Frame, tag="marks", frozen=True):
    """The marks of both users of each conversation asked after; who has none is left out.
    `pending`: ask again for the rest."""

    id: int
    marks: list[Mark]
    pending: bool = False


class Presence(_Frame, tag="presence", frozen=True):
    """Whether a watched user has a device online; if not, `last_seen` in ms says until when there
    was one (0: never)."""

    user: str
    online: bool
    last_seen: int


class Presences(_Frame, tag="presences", frozen=True):
    """The presence of the users that are watched now. `pending`: some could not be asked after;
    watch again."""

    id: int
    users: list[Presence]
    pending: bool = False


class UserTyping(_Frame, tag="user_typing", frozen=True):
    """`user` is writing. It ends with the user's next message, or some seconds after the last of
    these."""

    conversation: str
    user: str


class Resync(_Frame, tag="resync", frozen=True):
    """Pushes may have been missed (the routes to this node were lost for a while): send `sync` as
    after a welcome."""


class Page(_Frame, tag="page", frozen=True):
    """Messages in order, without a hole; fewer than asked for if they are large, or not there yet.

    `known` is the last seq there is, as far as the server knows now. `first`: nothing before them
    is kept.
    """

    id: int
    conversation: str
    known: int
    messages: list[Message]
    first: bool = False


class Pong(_Frame, tag="pong", frozen=True):
    id: int


class Error(_Frame, tag="error", frozen=True):
    """A command was not carried out. `id` or (`to`, `outbox`, `ordinal`) name it where they could
    be read."""

    code: int
    retry: bool
    reason: str
    id: int | None = None
    to: str | None = None
    outbox: str | None = None
    ordinal: int | None = None


Question = Sync | History | GetMarks | Watch
"""Commands that are answered by asking others; at most MAX_QUESTIONS of a session at once."""
Command = Hello | Send | Received | Read | Typing | Question | Ping
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
    | UserTyping
    | Resync
    | Pong
    | Error
)
