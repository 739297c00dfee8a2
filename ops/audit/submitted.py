"""Reads a record of `messages.submitted` for the judge.

The sequencer reads the same records with schemas/codec.py. This reader was written apart, from
docs/TOPICS.md, `schemas/events.py` and rule R7, and must stay apart: what both read alike is then
no fault of one program that its judge repeats. tests/property/test_second_fold.py holds the two
against each other.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

NEWEST_VERSION = 1
MAX_RECORD_BYTES = 256 * 1024
ITEM_INVALID = 114
"""The reply code of a message whose envelope can be read and whose body is no text."""

_MAX_ORDINAL = 2**53 - 1
_ID_BYTES = 16
_MESSAGE, _REFUSAL, _SWITCH = 0, 1, 2
_SEND_FIELDS = 9
"""Kind, conversation, sender, device, outbox, ordinal, key, round, and a body or a code."""

_whole = msgspec.msgpack.Decoder()
_parts = msgspec.msgpack.Decoder(list[msgspec.Raw])
_UNREADABLE = object()


class NewerRecord(Exception):
    """Newer code than this has written what the judge reads. The text says what it is."""


class Send(NamedTuple):
    """What a record asks of the fold: the next ordinal of an outbox. A message has `code` 0, a
    refusal a reply code and no body."""

    conversation: str
    sender: str
    device: str
    outbox: bytes
    ordinal: int
    key: bytes
    code: int
    body: str


class Switch(NamedTuple):
    """From here on the fold follows this fold version."""

    version: int


def read_submitted(value: bytes) -> list[Send] | Switch:
    """What the record asks for, in order, without what nobody can read. Raises NewerRecord."""
    if len(value) > MAX_RECORD_BYTES:
        return []
    try:
        record = _whole.decode(value)
        items = _items(record[0], record[1:2])
    except NewerRecord:
        raise
    except Exception:  # a part of it is not msgpack, or not of this form: look at each part alone
        items = _items_by_parts(value)
    if len(items) == 1 and isinstance(items[0], Switch):
        return items[0]
    if any(isinstance(item, Switch) for item in items):
        return []  # a control record stands alone
    return [item for item in items if isinstance(item, Send)]


def _items(version: object, rest: Sequence[object]) -> list[Send | Switch | None]:
    if type(version) is not int or version < 1:
        return []
    if version > NEWEST_VERSION:
        raise NewerRecord(f"schema version {version}; this code reads up to {NEWEST_VERSION}")
    if not rest or type(rest[0]) is not list:
        return []
    return [_item(item) for item in rest[0]]


def _items_by_parts(value: bytes) -> list[Send | Switch | None]:
    record = _split(value)
    version = _read(record[0]) if record else None
    items = _split(record[1]) if len(record) > 1 else []
    return _items(version, [[[_read(field) for field in _split(item)] for item in items]])


def _split(value: bytes | msgspec.Raw) -> list[msgspec.Raw]:
    """The elements of an array; none if it is no array."""
    try:
        return _parts.decode(value)
    except Exception:
        return []


def _read(value: msgspec.Raw) -> object:
    try:
        return _whole.decode(value)
    except Exception:
        return _UNREADABLE


def _item(fields: object) -> Send | Switch | None:
    """None for an item that is set aside, and takes no ordinal."""
    if type(fields) is not list or not fields or type(fields[0]) is not int:
        return None
    kind = fields[0]
    if kind == _SWITCH:
        return Switch(fields[1]) if len(fields) > 1 and type(fields[1]) is int else None
    if kind not in (_MESSAGE, _REFUSAL) or len(fields) < _SEND_FIELDS:
        return None
    _, conversation, sender, device, outbox, ordinal, key, round_, last = fields[:_SEND_FIELDS]
    readable = (
        _is_text(conversation)
        and _is_text(sender)
        and _is_text(device)
        and type(outbox) is bytes
        and len(outbox) == _ID_BYTES
        and type(ordinal) is int
        and 1 <= ordinal <= _MAX_ORDINAL
        and type(key) is bytes
        and len(key) == _ID_BYTES
        and type(round_) is int
    )
    if not readable:
        return None
    if kind == _REFUSAL:
        if type(last) is not int or not 1 <= last <= 999:
            return None
        return Send(conversation, sender, device, outbox, ordinal, key, last, "")
    if type(last) is not str:
        return Send(conversation, sender, device, outbox, ordinal, key, ITEM_INVALID, "")
    return Send(conversation, sender, device, outbox, ordinal, key, 0, last)


def _is_text(field: object) -> bool:
    return type(field) is str and 1 <= len(field) <= 129
