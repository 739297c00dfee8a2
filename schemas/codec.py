"""Encoders and decoders of frames and events, and the size limits of records.

A decoder raises `Undecodable`, with the code for the client or the dead letter, or `NewerVersion`,
which halts the partition (docs/RULES.md, R7): an older reader never sets aside what a newer writer
meant.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import msgspec

from schemas import events, frames
from schemas.codes import Code

MAX_SUBMITTED_BYTES = 256 * 1024
MAX_DELIVERY_BYTES = 1024 * 1024
_DELIVERY_HEAD = 64
"""Upper bound of what a delivery record has beside its events, in bytes."""

UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Everything that msgspec raises for malformed bytes. Text that is not UTF-8 and deep nesting raise
exceptions of their own."""


class Undecodable(ValueError):
    """A value breaks its schema, and will on every later attempt. `code` is a reply code."""

    def __init__(self, code: Code, detail: str) -> None:
        super().__init__(f"{code.name}: {detail}")
        self.code = code


class NewerVersion(ValueError):
    """Newer code than this wrote the record. Deploy that code, then start again."""


class SetAside(NamedTuple):
    """An item that the decoder refuses, at index `place` of its record.

    `refusal` uses up the item's ordinal; None if the decoder could not even read the ordinal.
    """

    place: int
    code: Code
    value: bytes
    refusal: events.RefusalSubmitted | None


# Frames

encode_frame = msgspec.json.Encoder().encode
_command = msgspec.json.Decoder(frames.Command)
_server_frame = msgspec.json.Decoder(frames.ServerFrame)
decode_message = msgspec.json.Decoder(frames.Message).decode
"""Decodes a `message` frame of this code. Raises UNDECODABLE."""
decode_command = _command.decode
"""Decodes one frame of a device. Raises UNDECODABLE; gateway/session.py answers with a code."""


class _PageOfFrames(msgspec.Struct, tag_field="t", tag="page"):
    """`frames.Page` with messages that are encoded already."""

    id: int
    conversation: str
    known: int
    messages: list[msgspec.Raw]
    first: bool


def encode_page(
    id_: int, conversation: str, known: int, messages: Iterable[bytes], first: bool = False
) -> bytes:
    """A `page` frame from encoded `message` frames."""
    return encode_frame(
        _PageOfFrames(
            id_, conversation, known, [msgspec.Raw(message) for message in messages], first
        )
    )


def presence_of(user: str, state: events.PresenceState | None) -> frames.Presence:
    """The `presence` frame for a user's state. None means that no node has ever named the user."""
    if state is None:
        return frames.Presence(user, False, 0)
    return frames.Presence(user, state.online, 0 if state.online else state.last_seen)


EVERYBODY = ""
"""About whom a user decides what counts for all others."""
_SHOWN: Sequence[frames.Shown] = ("everyone", "contacts", "nobody")
"""By events.PresenceShown."""


def person_of(
    other: str, state: events.PersonState | None, id_: int | None = None
) -> frames.Person | frames.Privacy:
    """The frame for what a user has decided about `other`."""
    if other == EVERYBODY:
        if state is None:
            return frames.Privacy(id=id_)
        return frames.Privacy(_SHOWN[min(state.presence, 2)], not state.hides_reads, id_)
    if state is None:
        return frames.Person(other, id=id_)
    return frames.Person(other, state.blocked, state.contact, id_)


def join_frames(encoded: Sequence[bytes]) -> bytes:
    """One WebSocket message from several encoded frames."""
    return encoded[0] if len(encoded) == 1 else b"\n".join(encoded)


def split_frames(message: bytes) -> list[bytes]:
    """The encoded frames of a WebSocket message, without empty lines."""
    return [line for line in message.split(b"\n") if line.strip()]


def decode_server_frames(message: str | bytes) -> list[frames.ServerFrame]:
    """All frames of a WebSocket message from the server, without those of unknown types (a newer
    server may send them). Raises Undecodable."""
    lines = split_frames(message.encode() if isinstance(message, str) else message)
    decoded = []
    for line in lines:
        try:
            decoded.append(_server_frame.decode(line))
        except msgspec.ValidationError as error:
            if not str(error).startswith("Invalid value"):
                raise Undecodable(Code.BAD_FIELD, str(error)) from None
        except UNDECODABLE as error:
            raise Undecodable(Code.BAD_FRAME, str(error)) from None
    return decoded


# Events

encode_event = msgspec.msgpack.Encoder().encode
_submitted = msgspec.msgpack.Decoder(events.SubmittedRecord)
_parts = msgspec.msgpack.Decoder(list[msgspec.Raw])
_int = msgspec.msgpack.Decoder(int)
_item = msgspec.msgpack.Decoder(events.Submitted)
_log = msgspec.msgpack.Decoder(events.LogRecord)
_deliveries = msgspec.msgpack.Decoder(events.DeliveryRecord)
_delivered: msgspec.msgpack.Decoder[events.Delivered] = msgspec.msgpack.Decoder(events.Delivered)
_receipts = msgspec.msgpack.Decoder(events.ReceiptRecord)
_cursor = msgspec.msgpack.Decoder(events.CursorRecord)
_presence = msgspec.msgpack.Decoder(events.PresenceRecord)
_presence_state = msgspec.msgpack.Decoder(events.PresenceState)
_people = msgspec.msgpack.Decoder(events.PeopleRecord)
_person = msgspec.msgpack.Decoder(events.PersonState)
_membership = msgspec.msgpack.Decoder(events.MembershipRecord)
_snapshot = msgspec.msgpack.Decoder(events.SnapshotRecord)
_chunk = msgspec.msgpack.Decoder(events.SnapshotChunk)
_revocation = msgspec.msgpack.Decoder(events.Revocation)
_dead_letter = msgspec.msgpack.Decoder(events.DeadLetter)


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
        _check_version(record.version, events.CHANGES_VERSION)
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
        parts = _parts.decode(value)
        version = _int.decode(parts[0])
    except (*UNDECODABLE, IndexError) as error:
        raise Undecodable(Code.RECORD_UNREADABLE, str(error)) from None
    _check_version(version, events.CHANGES_VERSION)
    try:
        raw_items = _parts.decode(parts[1])
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


def _check_version(version: int, newest: int = events.SCHEMA_VERSION) -> None:
    if version > newest:
        raise NewerVersion(f"record of schema version {version}; this code reads up to {newest}")
    if version < 1:
        raise Undecodable(Code.RECORD_UNREADABLE, f"schema version {version}")


def decode_log(value: bytes) -> events.LogRecord:
    """A record of `messages`. Raises NewerVersion or Undecodable."""
    return _of_version(_log, value)


def decode_deliveries(value: bytes) -> events.DeliveryRecord:
    """A record of `deliveries`. Raises NewerVersion or Undecodable."""
    return _of_version(_deliveries, value)


def salvage_deliveries(value: bytes) -> list[events.Delivered]:
    """Those events of a `deliveries` record that this code can read, in order. For a record that
    `decode_deliveries` refuses."""
    salvaged: list[events.Delivered] = []
    with contextlib.suppress(*UNDECODABLE, IndexError):
        for raw in _parts.decode(_parts.decode(value)[1]):
            with contextlib.suppress(*UNDECODABLE):
                salvaged.append(_delivered.decode(raw))
    return salvaged


def decode_receipts(value: bytes) -> events.ReceiptRecord:
    """A record of `receipts.submitted`. Raises NewerVersion or Undecodable."""
    return _of_version(_receipts, value)


def decode_cursor(value: bytes) -> events.CursorRecord:
    """A record of `cursors`. Raises NewerVersion or Undecodable."""
    return _of_version(_cursor, value)


def decode_presence(value: bytes) -> events.PresenceRecord:
    """A record of `presence.submitted`. Raises NewerVersion or Undecodable."""
    return _of_version(_presence, value)


def decode_presence_state(value: bytes) -> events.PresenceState:
    """A record of `presence`. Raises NewerVersion or Undecodable."""
    return _of_version(_presence_state, value)


def decode_people(value: bytes) -> events.PeopleRecord:
    """A record of `people.submitted`. Raises NewerVersion or Undecodable."""
    return _of_version(_people, value)


def decode_person(value: bytes) -> events.PersonState:
    """A record of `people`. Raises NewerVersion or Undecodable."""
    return _of_version(_person, value)


def decode_membership(value: bytes) -> events.MembershipRecord:
    """A record of `memberships`. Raises NewerVersion or Undecodable."""
    return _of_version(_membership, value)


def decode_revocation(value: bytes) -> events.Revocation:
    """A record of `revocations`. Raises NewerVersion or Undecodable."""
    return _of_version(_revocation, value)


def decode_snapshot(value: bytes) -> events.SnapshotRecord:
    """A record of `snapshots`. Raises NewerVersion or Undecodable."""
    return _of_version(_snapshot, value)


class _ChunkOfRows(msgspec.Struct, array_like=True):
    """`events.SnapshotChunk` with rows that are encoded already."""

    version: int
    snapshot: str
    number: int
    rows: list[msgspec.Raw]


def encode_chunk(snapshot: str, number: int, rows: Iterable[bytes]) -> bytes:
    """A record of `snapshots.chunks` from encoded rows."""
    raw = [msgspec.Raw(row) for row in rows]
    return encode_event(_ChunkOfRows(events.SCHEMA_VERSION, snapshot, number, raw))


def decode_chunk(value: bytes) -> events.SnapshotChunk:
    """A record of `snapshots.chunks`. Raises NewerVersion or Undecodable."""
    return _of_version(_chunk, value)


def decode_dead_letter(value: bytes) -> events.DeadLetter:
    """A record of `dead-letters`. Raises NewerVersion or Undecodable."""
    return _of_version(_dead_letter, value)


_Record = TypeVar(
    "_Record",
    events.LogRecord,
    events.DeliveryRecord,
    events.DeadLetter,
    events.ReceiptRecord,
    events.CursorRecord,
    events.PresenceRecord,
    events.PresenceState,
    events.PeopleRecord,
    events.PersonState,
    events.MembershipRecord,
    events.Revocation,
    events.SnapshotRecord,
    events.SnapshotChunk,
)


def _of_version(decoder: msgspec.msgpack.Decoder[_Record], value: bytes) -> _Record:
    try:
        record = decoder.decode(value)
    except UNDECODABLE as error:
        with contextlib.suppress(*UNDECODABLE, IndexError):
            _check_version(_int.decode(_parts.decode(value)[0]))
        raise Undecodable(Code.RECORD_UNREADABLE, str(error)) from None
    _check_version(record.version)
    return record


def encode_deliveries(delivered: Sequence[events.Delivered]) -> list[bytes]:
    """Records of `deliveries` that carry these events in order, each of at most
    MAX_DELIVERY_BYTES; an event larger than that stands alone."""
    value = encode_event(events.DeliveryRecord(events.SCHEMA_VERSION, list(delivered)))
    if len(value) <= MAX_DELIVERY_BYTES:
        return [value]
    sizes = (len(encode_event(event)) for event in delivered)
    return [
        encode_event(events.DeliveryRecord(events.SCHEMA_VERSION, list(delivered[cut])))
        for cut in pack(sizes, MAX_DELIVERY_BYTES - _DELIVERY_HEAD)
    ]


def pack(encoded_sizes: Iterable[int], limit: int) -> Iterator[slice]:
    """Cut items into runs of at most `limit` bytes each, to pack 1..n items into a record.

    Takes the items' sizes in bytes and yields slices, none of them empty. An item larger than
    `limit` makes a run of its own.
    """
    start, end, size = 0, 0, 0
    for item in encoded_sizes:
        if size and size + item > limit:
            yield slice(start, end)
            start, size = end, 0
        size += item
        end += 1
    if end > start:
        yield slice(start, end)
