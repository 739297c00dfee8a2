"""The keys and values of the sequencer's table (streams/tables/sequences.py).

    b"h"                                     Header
    b"s" conversation                        last sequence number, its log time
    b"o" conversation \\0 sender \\0 outbox    last taken ordinal, its log time
    b"a" conversation \\0 sender \\0 outbox n  answers to a run of ordinals; the first is n mod 128
    b"m" conversation \\0 seq                  places from seq on (R9): pairs of a seq and the
                                             offset of the log record that brings it, and maybe
                                             some that follow it
    b"m" \\1 conversation \\0 seq             the last change of message seq: whether it deletes,
                                             its number, and the offset of its log record
    b"m" \\2 conversation                     the number of the last change, and that offset
    b"u" user \\0 conversation                 a conversation of the user that has a message

Answers are written as they come, one row for each run of ordinals, so that no row is read to write
another. A run ends before a multiple of 8, so 8 lookups find an answer. Rows are named modulo 128,
because the window of 64 may reach back into a run that began before it. Idempotency keys are stored
whole, not as hashes. State and offsets change in one WriteBatch.
"""

from collections.abc import Iterator, Sequence
from struct import Struct

from schemas.events import SnapshotAnswer, Taken
from schemas.frames import OUTBOX_WINDOW

FORMAT = 5
"""The format of the keys above. Each has a folder of its own, so that a version that is rolled back
finds its state untouched."""

SEQ = Struct(">Q")
LAST = Struct(">QQ")
PLACE = Struct(">QQ")
CHANGE = Struct(">?QQ")
CHANGED, LAST_CHANGE = b"m\1", b"m\2"
ANSWER = Struct(">16sQHQ")
RUN = 8
ANSWER_ROWS = 2 * OUTBOX_WINDOW


def answer_rows(items: Sequence[Taken | SnapshotAnswer]) -> Iterator[tuple[int, bytes]]:
    """The taken ordinals of one outbox, at least one, as runs: (first ordinal, value)."""
    first = following = 0
    row = b""
    for item in items:
        ordinal = item.ordinal
        if ordinal != following or ordinal % RUN == 0:
            if row:
                yield first, row
            first, row = ordinal, SEQ.pack(ordinal)
        row += ANSWER.pack(item.key, item.seq, item.code, item.time)
        following = ordinal + 1
    yield first, row


def outbox_key(conversation: str, sender: str, outbox: bytes) -> bytes:
    """What follows b"o" and b"a"."""
    return f"{conversation}\0{sender}\0".encode() + outbox
