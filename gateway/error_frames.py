"""`error` frames for what a device has sent. Pure."""

import json
import re
from typing import Any

import msgspec

from schemas.codec import encode_frame
from schemas.codes import Code
from schemas.events import SubmittedItem
from schemas.frames import Error

_FIELD = re.compile(r"required field `(\w+)`|at `\$\.(\w+)")
"""In msgspec's messages, which tests/unit/test_session.py holds them to."""


def error_of_send(
    item: SubmittedItem, to: str, code: Code, retry_after: int | None = None
) -> bytes:
    """For an item that was not handed to Kafka."""
    return encode_frame(
        Error(
            code.number,
            code.retry,
            code.text,
            to=to,
            outbox=item.outbox.hex(),
            ordinal=item.ordinal,
            retry_after=retry_after,
        )
    )


def field_of(error: Exception) -> str:
    """The name of the field that a decoder did not take, empty if it names none."""
    found = _FIELD.search(str(error)) if isinstance(error, msgspec.ValidationError) else None
    return "" if found is None else found[1] or found[2]


def error_of_frame(line: bytes, code: Code, field: str = "") -> bytes:
    """For a frame, with as many of its fields as tell the device which it was. `field` is the one
    that is wrong."""
    named = read_leniently(line) or {}

    def read(field: str, kind: type) -> Any:
        value = named.get(field)
        return value if type(value) is kind else None

    to, outbox = read("to", str), read("outbox", str)
    return encode_frame(
        Error(
            code.number,
            code.retry,
            f"{code.text}: {field}" if field else code.text,
            id=_within(read("id", int)),
            to=to if to is not None and to.isascii() else None,
            outbox=outbox if outbox is not None and outbox.isascii() else None,
            ordinal=_within(read("ordinal", int)),
        )
    )


def read_leniently(line: bytes) -> dict[str, Any] | None:
    """A frame as a lenient decoder reads it (lone surrogates and all), None if it is not a JSON
    object."""
    try:
        named = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return named if isinstance(named, dict) else None


def _within(number: int | None) -> int | None:
    """Numbers that JSON readers and our encoder can carry."""
    return number if number is not None and abs(number) < 2**53 else None
