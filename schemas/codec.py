"""Encoders and decoders of frames and events, and the size limits of records.

A decoder raises `Undecodable`, with the code for the client or the dead letter, or `NewerVersion`,
which halts the partition (docs/RULES.md, R7): an older reader never sets aside what a newer writer
meant.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

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
    return frames.Person(other, state.blocked, state.contact, state.asks, id_)


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
decode_parts = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
"""The elements of an array, undecoded. Raises UNDECODABLE."""
decode_int = msgspec.msgpack.Decoder(int).decode
_delivered: msgspec.msgpack.Decoder[events.Delivered] = msgspec.msgpack.Decoder(events.Delivered)


def check_version(version: int, newest: int = events.SCHEMA_VERSION) -> None:
    """Raises NewerVersion, Undecodable."""
    if version > newest:
        raise NewerVersion(f"record of schema version {version}; this code reads up to {newest}")
    if version < 1:
        raise Undecodable(Code.RECORD_UNREADABLE, f"schema version {version}")


class _Versioned(Protocol):
    @property
    def version(self) -> int: ...


_Record = TypeVar("_Record", bound=_Versioned)


def _decoder(kind: type[_Record]) -> Callable[[bytes], _Record]:
    """Decodes records of a topic. Raises NewerVersion or Undecodable."""
    decode = msgspec.msgpack.Decoder(kind).decode

    def decode_record(value: bytes) -> _Record:
        try:
            record = decode(value)
        except UNDECODABLE as error:
            with contextlib.suppress(*UNDECODABLE, IndexError):
                check_version(decode_int(decode_parts(value)[0]))
            raise Undecodable(Code.RECORD_UNREADABLE, str(error)) from None
        check_version(record.version)
        return record

    return decode_record


decode_log = _decoder(events.LogRecord)
decode_deliveries = _decoder(events.DeliveryRecord)
decode_receipts = _decoder(events.ReceiptRecord)
decode_cursor = _decoder(events.CursorRecord)
decode_presence = _decoder(events.PresenceRecord)
decode_presence_state = _decoder(events.PresenceState)
decode_people = _decoder(events.PeopleRecord)
decode_person = _decoder(events.PersonState)
decode_membership = _decoder(events.MembershipRecord)
decode_notification = _decoder(events.NotificationRecord)
decode_revocation = _decoder(events.Revocation)
decode_snapshot = _decoder(events.SnapshotRecord)
decode_chunk = _decoder(events.SnapshotChunk)
decode_dead_letter = _decoder(events.DeadLetter)


def salvage_deliveries(value: bytes) -> list[events.Delivered]:
    """Those events of a `deliveries` record that this code can read, in order. For a record that
    `decode_deliveries` refuses."""
    salvaged: list[events.Delivered] = []
    with contextlib.suppress(*UNDECODABLE, IndexError):
        for raw in decode_parts(decode_parts(value)[1]):
            with contextlib.suppress(*UNDECODABLE):
                salvaged.append(_delivered.decode(raw))
    return salvaged


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
