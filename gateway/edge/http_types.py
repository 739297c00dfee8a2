"""Bodies of HTTP requests and of their answers (docs/openapi.json)."""

from typing import Annotated

import msgspec
from msgspec import Meta

from gateway.queries.devices import Device

_MESSAGE = {"$ref": "#/components/schemas/Message"}
EncodedMessage = Annotated[msgspec.Raw, Meta(extra_json_schema=_MESSAGE)]
"""A `message` frame."""
PerhapsMessage = Annotated[
    msgspec.Raw, Meta(extra_json_schema={"anyOf": [_MESSAGE, {"type": "null"}]})
]
"""A `message` frame, or null."""


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


class NodeFound(msgspec.Struct):
    """Where the user's devices should meet."""

    url: str


class LoginByName(msgspec.Struct):
    user: str


class LoggedIn(msgspec.Struct):
    user: str
    token: str


class Revoke(msgspec.Struct, forbid_unknown_fields=True):
    """`device` empty: all of the user's. `before` (ms) null: now."""

    user: str
    device: str = ""
    before: int | None = None


class Revoked(msgspec.Struct):
    user: str
    device: str
    before: int


class Draining(msgspec.Struct):
    draining: bool
