"""`python -m ops.frame_fields` writes docs/FRAMES.md: every field of every frame. Types, ranges and
defaults come from the structs that decode the frames, so the page cannot be wrong about them."""

from pathlib import Path
from typing import get_args

import msgspec
from msgspec import inspect

from schemas.frames import Command, ServerFrame

_PAGE = Path(__file__).resolve().parents[1] / "docs" / "FRAMES.md"
_MS = "ms since 1970"
_HEX = "a random UUID, as 32 lower-case hex digits"
_NONE = "; 0: none"

MEANINGS = {
    "after": "a conversation id: those above it are meant; empty: from the first on",
    "before": "the newest messages with a lower seq; not together with `after`",
    "blocked": "whether this user has blocked `user`",
    "body": "the text, at most 16 KiB of UTF-8",
    "changes": f"the seq of the message that this one changes{_NONE}",
    "code": "a reply code (PROTOCOL.md, Codes)",
    "contact": "whether `user` is a contact of this user",
    "conversation": "a conversation id of which the device's user is a member",
    "conversations": "conversation ids of which the user is a member: with one other, all get 113",
    "cursors": "conversation id → the last seq that the device has; ids as in `conversations`",
    "device": "a device id",
    "erased": "the message was taken away; its body is empty",
    "expires": f"until when the token is good, {_MS}",
    "first": "the server keeps nothing before these messages",
    "from": "the user id of who wrote it",
    "heads": "conversation id → its last seq; at most 1,000",
    "heartbeat": "seconds between the server's pings",
    "id": "chosen by the device; the answer to a command has that of the command",
    "key": _HEX,
    "known": "the last seq that the server knows now; 0: none",
    "last_seen": f"until when a device was online, {_MS}{_NONE}, or `online`",
    "limit": "at most so many messages",
    "log": "names one numbering of messages; opaque",
    "marks": "`mark` frames",
    "messages": "`message` frames, by ascending seq, without a gap",
    "next": "there may be more: send `sync` with this as `after`; empty: this was all",
    "node": "names the gateway; opaque",
    "online": "whether a device is online",
    "ordinal": "1, 2, 3 … within (outbox, conversation)",
    "outbox": _HEX,
    "pending": "something is missing: ask again",
    "people": "`person` frames",
    "presence": "who sees this user's presence",
    "privacy": "a `privacy` frame: what this user shows to others",
    "read": f"the last seq that the person has read{_NONE}",
    "read_at": f"when, {_MS}{_NONE}",
    "reads": "whether others see what this user has read",
    "reason": "for people",
    "received": f"the last seq that a device has shown{_NONE}",
    "received_at": f"when, {_MS}{_NONE}",
    "request": "whether `user` has sent a first message, and waits",
    "retry": "whether the same may succeed later",
    "retry_after": "ms after which it may",
    "round": "the number of this transmission to the recipient",
    "seq": "the number of a message in its conversation",
    "stay": "send the device to no other node",
    "time": f"{_MS}, by the server's clock",
    "to": "the user id of the recipient",
    "token": "a JWT (PROTOCOL.md, Tokens)",
    "until": "a conversation id: those up to it are meant; empty: to the last",
    "user": "a user id",
    "users": "user ids; what is none is ignored",
    "version": "the version of the protocol",
    "history.after": "the oldest messages with a higher seq; `before` does not count then",
    "message.version": f"the seq of the change from which `body` and `erased` come{_NONE}",
    "out_of_step.next": "the ordinal that the server expects",
    "out_of_step.reason": "`gap`, `reused` or `too_old` (PROTOCOL.md, Sending)",
    "presences.users": "`presence` frames",
    "send.body": "1 byte to 16 KiB of UTF-8; what is not gets `refused`",
    "edit.body": "as that of `send`",
}
"""By the field's name, or the frame's and the field's."""

Frame = type[msgspec.Struct]


def frames_page() -> str:
    """The text of docs/FRAMES.md. Raises LookupError for a field without a meaning."""
    lines = [
        "# Fields of frames",
        "",
        "`make docs` writes this page from `schemas/frames.py` and `ops/frame_fields.py`; do not",
        "edit it. [PROTOCOL.md](PROTOCOL.md) says what the frames mean, and has the syntax of ids.",
        "A field without a default is in every frame. An integer without a range is from 0 to",
        "2^53 - 1. `t`, a frame's type, is left out here.",
        "",
    ]
    for title, kinds in (("device", get_args(Command)), ("server", get_args(ServerFrame))):
        lines += [
            f"## From the {title}",
            "",
            "| frame | field | type | range | default | unit and meaning |",
            "|---|---|---|---|---|---|",
            *(row for kind in kinds for row in _rows(kind)),
            "",
        ]
    return "\n".join(lines)


def _rows(kind: Frame) -> list[str]:
    told = inspect.type_info(kind)
    assert isinstance(told, inspect.StructType)
    rows = []
    for field in told.fields:
        name = field.encode_name
        meaning = MEANINGS.get(f"{told.tag}.{name}") or MEANINGS.get(name)
        if meaning is None:
            raise LookupError(f"ops/frame_fields.py does not say what `{told.tag}.{name}` means")
        default = "–" if field.required else f"`{msgspec.json.encode(field.default).decode()}`"
        rows.append(
            f"| `{told.tag}` | `{name}` | {_type(field.type)} | {_range(field.type)} | {default}"
            f" | {meaning} |"
        )
    return rows


def _type(kind: inspect.Type) -> str:
    match kind:
        case inspect.IntType():
            return "integer"
        case inspect.StrType():
            return "string"
        case inspect.BoolType():
            return "boolean"
        case inspect.LiteralType():
            return "string"
        case inspect.FloatType():
            return "number"
        case inspect.NoneType():
            return "null"
        case inspect.StructType():
            return f"`{kind.tag}`"
        case inspect.ListType():
            return f"array: {_type(kind.item_type)}"
        case inspect.DictType():
            return f"object: {_type(kind.key_type)} → {_type(kind.value_type)}"
        case inspect.UnionType():
            return " or ".join(map(_type, kind.types))
    raise LookupError(f"ops/frame_fields.py knows no word for {kind}")


def _range(kind: inspect.Type) -> str:
    match kind:
        case inspect.IntType(ge=least, le=most) if least is not None or most is not None:
            return f"{least} to {_power(most)}"
        case inspect.ListType(max_length=most) if most is not None:
            return f"at most {most:,}"
        case inspect.DictType(max_length=most) if most is not None:
            return f"at most {most:,}, each {_range(kind.value_type)}"
        case inspect.LiteralType():
            return ", ".join(f"`{value}`" for value in kind.values)
        case inspect.UnionType():
            return ", ".join(filter(None, map(_range, kind.types)))
    return ""


def _power(number: int | None) -> str:
    """2^53 - 1 is easier to read than its digits."""
    if number is not None and number > 2**30 and (number + 1) & number == 0:
        return f"2^{number.bit_length()} - 1"
    return str(number)


if __name__ == "__main__":
    _PAGE.write_text(frames_page())
