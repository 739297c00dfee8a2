"""Bodies of HTTP requests and of their answers (docs/openapi.json)."""

from typing import Annotated

import msgspec
from msgspec import Meta

from gateway.queries.devices import Device
from schemas.frames import (
    OUTBOX_WINDOW,
    Error,
    Ordinal,
    OutOfStep,
    Person,
    Privacy,
    Refused,
    Sent,
    Shown,
)
from schemas.ids import USER_PATTERN, UUID_PATTERN

_MESSAGE = {"$ref": "#/components/schemas/Message"}
EncodedMessage = Annotated[msgspec.Raw, Meta(extra_json_schema=_MESSAGE)]
"""A `message` frame."""
PerhapsMessage = Annotated[
    msgspec.Raw, Meta(extra_json_schema={"anyOf": [_MESSAGE, {"type": "null"}]})
]
"""A `message` frame, or null."""


UserName = Annotated[str, Meta(pattern=f"^{USER_PATTERN}$")]
Uuid = Annotated[str, Meta(pattern=f"^{UUID_PATTERN}$")]


class NewMessage(msgspec.Struct, forbid_unknown_fields=True):
    """As in a `send`. Without `outbox` and `ordinal` the message has an outbox of its own, named by
    its `key`, and is the first in it."""

    to: UserName
    key: Uuid
    body: str
    outbox: Uuid | None = None
    ordinal: Ordinal | None = None


class NewText(msgspec.Struct, forbid_unknown_fields=True):
    """As in an `edit`: `key`, `outbox` and `ordinal` are those of the change, and may be left out
    as in `NewMessage`."""

    key: Uuid
    body: str
    outbox: Uuid | None = None
    ordinal: Ordinal | None = None


class Deletion(msgspec.Struct, forbid_unknown_fields=True):
    """As in a `delete`, otherwise as `NewText`."""

    key: Uuid
    outbox: Uuid | None = None
    ordinal: Ordinal | None = None


class NewMessages(msgspec.Struct, forbid_unknown_fields=True):
    """They are sent in this order."""

    messages: Annotated[list[NewMessage], Meta(min_length=1, max_length=OUTBOX_WINDOW)]


class Answers(msgspec.Struct):
    """One for each message, in their order: the frame that a socket would have got."""

    answers: list[Sent | Refused | OutOfStep | Error]


class Messages(msgspec.Struct):
    """`known`: the last seq of the conversation that the server knows. `first`: nothing before
    these messages is kept."""

    conversation: str
    known: int
    first: bool
    messages: list[EncodedMessage]


class Conversation(msgspec.Struct):
    """Its last seq, and that message's time (ms). `last`: the message, null if it is not kept."""

    conversation: str
    seq: int
    time: int
    last: PerhapsMessage


class Conversations(msgspec.Struct):
    """Last written first. `next`: the `before` of the next request, null if this was all."""

    conversations: list[Conversation]
    next: str | None


class Devices(msgspec.Struct):
    """`pending`: some may be missing."""

    devices: list[Device]
    pending: bool


class PeopleList(msgspec.Struct):
    """All about whom the user has decided something, and what the user shows to others."""

    people: list[Person]
    privacy: Privacy


class Deciding(msgspec.Struct, forbid_unknown_fields=True):
    """What is null or left out stays as it is. `blocked`: the other user can no longer write to
    this one, nor see when they are there. `declined`: their request is not accepted; a `contact`
    is accepted."""

    blocked: bool | None = None
    contact: bool | None = None
    declined: bool | None = None


class Showing(msgspec.Struct, forbid_unknown_fields=True):
    """As in `set_privacy`."""

    presence: Shown = "everyone"
    reads: bool = True


class NodeFound(msgspec.Struct):
    """Where the user's devices should meet."""

    url: str


class LoginByName(msgspec.Struct):
    user: str


class LoggedIn(msgspec.Struct):
    user: str
    token: str


class Disconnect(msgspec.Struct, forbid_unknown_fields=True):
    """`device` empty: all of the user's."""

    user: str
    device: str = ""


class ServiceMessages(msgspec.Struct, rename={"sender": "from"}, forbid_unknown_fields=True):
    """They are sent in the name of `from`, in this order."""

    sender: UserName
    messages: Annotated[list[NewMessage], Meta(min_length=1, max_length=OUTBOX_WINDOW)]


class Revoke(msgspec.Struct, forbid_unknown_fields=True):
    """`device` empty: all of the user's. `before` (ms) null: now."""

    user: str
    device: str = ""
    before: int | None = None


class Revoked(msgspec.Struct):
    user: str
    device: str
    before: int


class Health(msgspec.Struct):
    """`problems`: what is wrong, one line each."""

    healthy: bool
    node: str
    problems: list[str]


class Readiness(msgspec.Struct):
    """Whether devices may come; `problems` as in `Health`."""

    ready: bool
    problems: list[str]


class Draining(msgspec.Struct):
    draining: bool
