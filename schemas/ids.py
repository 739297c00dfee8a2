"""Identifiers. The edge checks each one once; the code behind it trusts them.

A conversation's id is a pure function of its two users: `conversation_of("bob", "alice")` is
`"alice:bob"`. So no directory of conversations exists, and the id alone proves membership.
"""

import re
import zlib
from typing import NewType

UserId = NewType("UserId", str)
DeviceId = NewType("DeviceId", str)
ConversationId = NewType("ConversationId", str)

USER_PATTERN = r"[a-z0-9][a-z0-9._-]{0,63}"
DEVICE_PATTERN = r"[A-Za-z0-9._-]{1,64}"
HTTP_DEVICE_PREFIX = "http."
"""A gateway's name for what sends over HTTP begins so; it is no device of the user's."""

UUID_PATTERN = r"[0-9a-f]{32}"

_user = re.compile(USER_PATTERN)
_device = re.compile(DEVICE_PATTERN)
_uuid_hex = re.compile(UUID_PATTERN)
_probe = re.compile(r"probe-[0-9]+:probe-[0-9]+[.][0-9]+")


class InvalidId(ValueError):
    """An identifier breaks its syntax. The text names the identifier and what is allowed."""


def user_id(text: str) -> UserId:
    """`text` as a user id: 1-64 of a-z 0-9 . _ -, beginning with a letter or digit. Raises
    InvalidId."""
    if not _user.fullmatch(text):
        raise InvalidId(f"user id {text[:80]!r}: 1-64 of a-z 0-9 . _ - and a letter or digit first")
    return UserId(text)


def device_id(text: str) -> DeviceId:
    """`text` as a device id: 1-64 of A-Z a-z 0-9 . _ -. Raises InvalidId."""
    if not _device.fullmatch(text):
        raise InvalidId(f"device id {text[:80]!r}: 1-64 of A-Z a-z 0-9 . _ -")
    return DeviceId(text)


def conversation_of(one: UserId, other: UserId) -> ConversationId:
    """The conversation of two users, in either order. Raises InvalidId for a user with
    themselves."""
    if one == other:
        raise InvalidId(f"a conversation needs two users, not {one!r} twice")
    return ConversationId(f"{one}:{other}" if one < other else f"{other}:{one}")


def members_of(conversation: str) -> tuple[UserId, UserId]:
    """The two users of a conversation id, smaller first. Raises InvalidId unless the id is in its
    one valid form."""
    first, colon, second = conversation.partition(":")
    if not (colon and _user.fullmatch(first) and _user.fullmatch(second) and first < second):
        raise InvalidId(
            f"conversation id {conversation[:140]!r}: "
            "two user ids, the smaller first, joined by ':'"
        )
    return UserId(first), UserId(second)


def is_member(conversation: str, user: str) -> bool:
    """Whether `conversation` is a valid conversation id and `user` is one of its two users."""
    try:
        return user in members_of(conversation)
    except InvalidId:
        return False


def members_of_valid(conversation: str) -> tuple[str, str]:
    """The two users of an id that has been checked already, smaller first."""
    first, _, second = conversation.partition(":")
    return first, second


def peer_of(conversation: str, user: str) -> str:
    """The other user of a valid conversation id, of which `user` is one."""
    first, _, second = conversation.partition(":")
    return second if user == first else first


def is_probe(conversation: str) -> bool:
    """Whether a gateway sends itself the messages of this valid conversation id
    (gateway/probe.py)."""
    return _probe.fullmatch(conversation) is not None


def partition_of(conversation: str, partitions: int) -> int:
    """The partition of a conversation (or a user) in every topic keyed by it: CRC-32 of the id
    modulo `partitions`.

    Every producer passes the partition explicitly, because each Kafka library has another default.
    """
    return zlib.crc32(conversation.encode()) % partitions


def uuid_bytes(text: str) -> bytes:
    """The 16 bytes of an outbox id or idempotency key. On the socket it is 32 lower-case hex
    digits. Raises InvalidId."""
    if not _uuid_hex.fullmatch(text):
        raise InvalidId("an outbox id or idempotency key is a UUID as 32 lower-case hex digits")
    return bytes.fromhex(text)
