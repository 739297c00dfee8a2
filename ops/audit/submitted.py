"""Reads a record of `messages.submitted` for the judge.

The sequencer reads the same records with schemas/submitted_codec.py. This reader was written apart,
from docs/TOPICS.md, `schemas/events.py` and rule R7, and must stay apart: what both read alike is
then no fault of one program that its judge repeats. tests/property/test_second_fold.py holds the
two against each other.
"""

from typing import Any, NamedTuple

import msgspec

from schemas.events import Changed

NEWEST_VERSION = 2
MAX_RECORD_BYTES = 256 * 1024
ITEM_INVALID = 114
"""The reply code of a message whose envelope can be read and whose body is no text."""

_MAX_CONTROL_BYTES = 4096
_MAX_ORDINAL = 2**53 - 1
_ID_BYTES = 16
_MESSAGE, _REFUSAL, _SWITCH, _SKIP, _RESUME, _CHANGE = range(6)
_SEND_FIELDS = 9
"""Kind, conversation, sender, device, outbox, ordinal, key, round, and a body or a code."""

_whole = msgspec.msgpack.Decoder()
_parts = msgspec.msgpack.Decoder(list[msgspec.Raw])
_UNREADABLE = object()


class NewerRecord(Exception):
    """Newer code than this has written what the judge reads. The text says what it is."""


class Send(NamedTuple):
    """The next ordinal of an outbox. A message has `code` 0, a refusal a reply code and no body.
    `set_aside`: it was meant as a message, and its body cannot be read. `changes`: number, key and
    time of the message that it changes."""

    conversation: str
    sender: str
    device: str
    outbox: bytes
    ordinal: int
    key: bytes
    code: int
    body: str
    set_aside: bool = False
    changes: Changed | None = None


class Switch(NamedTuple):
    """From here on the fold follows this fold version."""

    version: int


class Skip(NamedTuple):
    """An operator sets the input offsets `first` to `last` aside."""

    first: int
    last: int


class Resume(NamedTuple):
    """An operator lets a halted partition try again. It asks nothing of the fold."""


Control = Switch | Skip | Resume


class Asked(NamedTuple):
    """What a record asks of the fold: sends in order, or a control alone. So many items of it, or
    the record as a whole, are `set_aside`."""

    sends: list[Send]
    control: Control | None
    set_aside: int


_NOTHING = Asked([], None, 1)


def read_submitted(value: bytes) -> Asked:
    """What the value of a record asks for. Raises NewerRecord."""
    if len(value) > MAX_RECORD_BYTES:
        return _NOTHING
    try:
        record = _whole.decode(value)
        items = _items(record[0], record[1])
    except NewerRecord:
        raise
    except Exception:  # a part of it is not msgpack, or not of this form: look at each part alone
        items = _items_by_parts(value)
    if items is None:
        return _NOTHING
    sends = [item for item in items if isinstance(item, Send)]
    if len(sends) == len(items):
        return Asked(sends, None, sum(send.set_aside for send in sends))
    if any(isinstance(item, Control) for item in items):
        first = items[0]
        # a control record stands alone
        return Asked([], first, 0) if isinstance(first, Control) and len(items) == 1 else _NOTHING
    lost = len(items) - len(sends)
    return Asked(sends, None, lost + sum(send.set_aside for send in sends))


def skip_in(value: bytes) -> Skip | None:
    """What an operator sets aside by this record."""
    if not 0 < len(value) <= _MAX_CONTROL_BYTES:
        return None
    try:
        asked = read_submitted(value)
    except NewerRecord:
        return None
    return asked.control if isinstance(asked.control, Skip) else None


def _items(version: object, items: object) -> list[Send | Control | None] | None:
    """None for a record that is set aside as a whole."""
    if type(version) is not int or version < 1:
        return None
    if version > NEWEST_VERSION:
        raise NewerRecord(f"schema version {version}; this code reads up to {NEWEST_VERSION}")
    return [_item(item) for item in items] if type(items) is list else None


def _items_by_parts(value: bytes) -> list[Send | Control | None] | None:
    record = _split(value)
    if not record:
        return None
    items = _split(record[1]) if len(record) > 1 else None
    readable = None if items is None else [_fields(item) for item in items]
    return _items(_read(record[0]), readable)


def _fields(item: msgspec.Raw) -> list[object] | None:
    fields = _split(item)
    return None if fields is None else [_read(field) for field in fields]


def _split(value: bytes | msgspec.Raw) -> list[msgspec.Raw] | None:
    """The elements of an array; None if it is no array."""
    try:
        return _parts.decode(value)
    except Exception:
        return None


def _read(value: msgspec.Raw) -> object:
    try:
        return _whole.decode(value)
    except Exception:
        return _UNREADABLE


def _item(fields: object) -> Send | Control | None:
    """None for an item that is set aside, and takes no ordinal."""
    if type(fields) is not list or not fields or type(fields[0]) is not int:
        return None
    kind = fields[0]
    if kind in (_SWITCH, _SKIP, _RESUME):
        return _control(kind, fields)
    if kind not in (_MESSAGE, _REFUSAL, _CHANGE) or len(fields) < _SEND_FIELDS:
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
    if kind == _CHANGE:
        return _change(fields)
    if type(last) is not str:
        return Send(conversation, sender, device, outbox, ordinal, key, ITEM_INVALID, "", True)
    return Send(conversation, sender, device, outbox, ordinal, key, 0, last)


def _change(fields: list[Any]) -> Send | None:
    """`fields` up to the key are readable. A change is readable as a whole, or takes no ordinal."""
    _, conversation, sender, device, outbox, ordinal, key, _, body = fields[:_SEND_FIELDS]
    changes = fields[_SEND_FIELDS] if len(fields) > _SEND_FIELDS else None
    if type(body) is not str or type(changes) is not list:
        return None
    if [type(one) for one in changes[:3]] != [int, bytes, int]:
        return None
    if not 1 <= changes[0] <= _MAX_ORDINAL or len(changes[1]) != _ID_BYTES:
        return None
    changed = Changed(*changes[:3])
    return Send(conversation, sender, device, outbox, ordinal, key, 0, body, changes=changed)


def _control(kind: int, fields: list[object]) -> Control | None:
    kinds = [type(field) for field in fields]
    if kind == _SWITCH and kinds[1:2] == [int]:
        return Switch(fields[1])  # type: ignore[arg-type]
    if kind == _SKIP and kinds[1:6] == [int, int, str, str, int]:
        return Skip(fields[1], fields[2])  # type: ignore[arg-type]
    if kind == _RESUME and kinds[1:4] == [str, str, int]:
        return Resume()
    return None


def _is_text(field: object) -> bool:
    return type(field) is str and 1 <= len(field) <= 129
