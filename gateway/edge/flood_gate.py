"""Reads what users send beyond their free frames: a little at a time, and users take turns.

A frame costs the loop some microseconds, also if it is refused. Without this gate a thousand
sockets that send as fast as they can would have the loop to themselves, however many of their
frames the node refuses.
"""

import asyncio
from collections.abc import Callable, Hashable, Iterator

from gateway.edge.pacer import Pace, Pacer
from gateway.quotas import Buckets, Limit
from schemas.codec import split_frames
from schemas.frames import MAX_FRAMES

PIECE_FRAMES = 32
PIECE_BYTES = 4096
"""What is read in one turn, unless one frame is larger."""
_BYTES_A_FRAME = 1024
"""A longer frame costs as much as several."""
SEND_FRAMES = 4
"""A send costs as many frames more: Kafka, a worker and the archive have work with it, too."""
DEVICES_A_FRAME = 4
"""To push to so many devices costs as much as to read a frame."""
_A_TURN = 1 / 8
"""What a turn costs, in pieces, beside what is read in it."""
_READ = Pace(1, 0.5, 2, faster=1.005)
"""Pieces that are read within 4 ms: at most a tenth of the loop's time. If the loop is late all the
same, the pace goes down, and up again so slowly that the loop is seldom late."""


class FloodGate:
    """Use it inside a running loop. A user has `rate` free frames a second, on all devices of this
    node together. `devices`: how many a user has here."""

    def __init__(self, rate: float, devices: Callable[[str], int]) -> None:
        self._free = Buckets(Limit(rate, rate))
        self._devices = devices
        self._clock = asyncio.get_running_loop().time
        self._in_turn = False
        """What is read now has waited for its turn."""
        self.turns = Pacer(_READ)
        """Where other messages wait, by user."""

    def lets_pass(self, user: str, message: bytes) -> bool:
        """Whether a message of the user may be read at once."""
        cost = message.count(b"\n") + 1 + len(message) // _BYTES_A_FRAME
        return not self._free.take(user, cost * self._weight(user), self._clock())

    def pieces(self, user: str, message: bytes) -> Iterator[bytes]:
        """The message in pieces, each of which is a turn's work at most. Take each of them when it
        is the user's turn."""
        weight = self._weight(user)
        for piece in in_pieces(message, max(1, PIECE_FRAMES // weight)):
            cost = piece.count(b"\n") + 1 + len(piece) // _BYTES_A_FRAME
            self.turns.spend(cost * weight / PIECE_FRAMES)
            yield piece

    def put(self, key: Hashable, read: Callable[[], None], user: str) -> None:
        """Call `read` when it is the user's turn."""

        def begin() -> None:
            self.turns.spend(_A_TURN - 1)
            self._in_turn = True
            try:
                read()
            finally:
                self._in_turn = False

        self.turns.put(key, begin, user)

    def sent(self, user: str, to: str) -> None:
        """A frame that is read now was a send: that costs more than to read it."""
        cost = SEND_FRAMES + self._devices(to) // DEVICES_A_FRAME
        if self._in_turn:
            self.turns.spend(cost / PIECE_FRAMES)
        else:
            self._free.owe(user, cost, self._clock())

    def _weight(self, user: str) -> int:
        """Most frames lead to something for all other devices of their user."""
        return 1 + self._devices(user) // DEVICES_A_FRAME


def in_pieces(message: bytes, most: int = PIECE_FRAMES) -> Iterator[bytes]:
    """A message as several, of the same frames, `most` in each. One of too many frames stays whole:
    it ends the session."""
    lines = split_frames(message)
    if not lines or len(lines) > MAX_FRAMES:
        yield message
        return
    piece: list[bytes] = []
    size = 0
    for line in lines:
        if piece and (len(piece) == most or size + len(line) > PIECE_BYTES):
            yield b"\n".join(piece)
            piece, size = [], 0
        piece.append(line)
        size += len(line)
    yield b"\n".join(piece)
