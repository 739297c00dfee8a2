"""The decoder of `messages.submitted`. What it refuses is set aside, item by item if it can be
(docs/RULES.md, R7)."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from schemas import events
from schemas.codec import (
    MAX_SUBMITTED_BYTES,
    UNDECODABLE,
    Undecodable,
    check_version,
    decode_int,
    decode_parts,
)
from schemas.codes import Code


class SetAside(NamedTuple):
    """An item that the decoder refuses, at index `place` of its record.

    `refusal` uses up the item's ordinal; None if the decoder could not even read the ordinal.
    """

    place: int
    code: Code
    value: bytes
    refusal: events.RefusalSubmitted | None


class _Envelope(msgspec.Struct, array_like=True, tag=0):
    """A submitted message, whatever its body is."""

    conversation: events.Text
    sender: events.Text
    device: events.Text
    outbox: events.Id16
    ordinal: events.Counted
    key: events.Id16
    round: int
    body: msgspec.Raw


_envelope = msgspec.msgpack.Decoder(_Envelope)
_submitted = msgspec.msgpack.Decoder(events.SubmittedRecord)
_item = msgspec.msgpack.Decoder(events.Submitted)


def decode_submitted(value: bytes) -> Sequence[events.Submitted | SetAside]:
    """The items of a `messages.submitted` record in order, an unreadable one as SetAside.

    Pure: every worker must get the same items from the same bytes, so a change of the result needs
    a new schema version. Raises Undecodable if the record itself is unreadable, is too large, or
    mixes a control with messages; NewerVersion if a newer writer made it.
    """
    if len(value) > MAX_SUBMITTED_BYTES:
        raise Undecodable(Code.RECORD_TOO_LARGE, f"{len(value)} bytes")
    items: Sequence[events.Submitted | SetAside]
    try:
        record = _submitted.decode(value)
        check_version(record.version, events.CHANGES_VERSION)
        items = record.items
    except UNDECODABLE:
        items = _decode_one_by_one(value)
    if len(items) > 1 and any(type(item) in events.CONTROLS for item in items):
        raise Undecodable(Code.CONTROL_INVALID, "a control record stands alone")
    return items


class _Submitting(msgspec.Struct, array_like=True):
    """A submitted record, whatever its items are."""

    version: int
    items: msgspec.Raw
    slot: int = -1


_submitting = msgspec.msgpack.Decoder(_Submitting)


def submitting_slot(value: bytes) -> int:
    """The slot of the node that has written a `messages.submitted` record, −1 if it does not say
    so."""
    try:
        return _submitting.decode(value).slot
    except UNDECODABLE:
        return -1


def _decode_one_by_one(value: bytes) -> list[events.Submitted | SetAside]:
    """Decode item by item: slower, for a record with something that does not fit the schema."""
    try:
        parts = decode_parts(value)
        version = decode_int(parts[0])
    except (*UNDECODABLE, IndexError) as error:
        raise Undecodable(Code.RECORD_UNREADABLE, str(error)) from None
    check_version(version, events.CHANGES_VERSION)
    try:
        raw_items = decode_parts(parts[1])
    except (*UNDECODABLE, IndexError) as error:
        raise Undecodable(Code.RECORD_UNREADABLE, str(error)) from None
    return [_decode_item(index, bytes(raw)) for index, raw in enumerate(raw_items)]


def _decode_item(index: int, raw: bytes) -> events.Submitted | SetAside:
    try:
        item: events.Submitted = _item.decode(raw)
        return item
    except UNDECODABLE:
        pass
    try:
        envelope = _envelope.decode(raw)
    except UNDECODABLE:
        return SetAside(index, Code.ITEM_INVALID, raw, None)
    refusal = events.RefusalSubmitted(
        envelope.conversation,
        envelope.sender,
        envelope.device,
        envelope.outbox,
        envelope.ordinal,
        envelope.key,
        envelope.round,
        Code.ITEM_INVALID.number,
    )
    return SetAside(index, Code.ITEM_INVALID, raw, refusal)
