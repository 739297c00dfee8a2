"""Reads what users send beyond their free frames: a little at a time, and users take turns.

A frame costs the loop some microseconds, also if it is refused. Without this gate a thousand
sockets that send as fast as they can would have the loop to themselves, however much is refused.
"""

import asyncio
from collections.abc import Iterator

from gateway.edge.pacer import Pace, Pacer
from gateway.quotas import Buckets, Limit
from schemas.codec import split_frames
from schemas.frames import MAX_FRAMES

PIECE_FRAMES = 32
PIECE_BYTES = 4096
"""What is read in one turn, unless one frame is larger."""
_BYTES_A_FRAME = 1024
"""A longer frame costs as much as several."""
_READ = Pace(2, 0.1, 8, faster=1.005)
"""Pieces that are read within 4 ms: at most a third of the loop's time. A piece may lead to much
more work than reading it, such as a push to each of a hundred devices; then the loop gets late, and
the pace goes down, and up again so slowly that the loop is seldom late."""


class FloodGate:
    """Use it inside a running loop. A user has `rate` free frames a second, on all devices of this
    node together."""

    def __init__(self, rate: float) -> None:
        self._free = Buckets(Limit(rate, rate))
        self._clock = asyncio.get_running_loop().time
        self.turns = Pacer(_READ)
        """Where other messages wait, by user."""

    def lets_pass(self, user: str, message: bytes) -> bool:
        """Whether a message of the user may be read at once."""
        cost = message.count(b"\n") + 1 + len(message) // _BYTES_A_FRAME
        return not self._free.take(user, cost, self._clock())


def in_pieces(message: bytes) -> Iterator[bytes]:
    """A message as several, of the same frames. One of too many frames stays whole: it ends the
    session."""
    lines = split_frames(message)
    if not lines or len(lines) > MAX_FRAMES:
        yield message
        return
    piece: list[bytes] = []
    size = 0
    for line in lines:
        if piece and (len(piece) == PIECE_FRAMES or size + len(line) > PIECE_BYTES):
            yield b"\n".join(piece)
            piece, size = [], 0
        piece.append(line)
        size += len(line)
    yield b"\n".join(piece)
