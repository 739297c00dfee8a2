"""What a gateway asks a worker about the log by number (R9), over the pages of its monitor;
JSON."""

from msgspec import Struct

from schemas.events import PresenceState
from schemas.frames import Mark

MAX_PAGE_BYTES = 128 * 1024
"""A page of messages stays below what a socket message may hold."""


class RangeGone(Exception):
    """The log, or what is kept of it, no longer holds the beginning of the wanted range."""


class HeadsQuestion(Struct):
    """What is new to a device of `user` in the user's conversations after `after` up to `until` by
    id (all, if empty)?

    `cursors`: partition to be asked → conversation → last seq the device has; 0 for a conversation
    that is not named.
    """

    user: str
    after: str
    until: str
    cursors: dict[int, dict[str, int]]


HeadsAnswer = dict[int, dict[str, int]]
"""partition → conversation → last seq, at most MAX_HEADS by name; partitions the worker cannot
answer for are left out."""


class HoldingQuestion(Struct):
    """Does a user have conversations in these partitions, as far as their input goes now?"""

    user: str
    partitions: list[int]


HoldingAnswer = dict[int, bool]
"""partition → whether there are any; partitions the worker cannot answer for are left out."""


class NewestQuestion(Struct):
    """Which of a user's conversations, in these partitions, were written to last? `before` is
    (time, conversation)."""

    user: str
    limit: int
    before: tuple[int, str] | None
    partitions: list[int]


class Newest(Struct, array_like=True, order=True, frozen=True):
    """A conversation with the log time (ms) and number of its last message; the order is by time,
    then name."""

    time: int
    conversation: str
    seq: int


NewestAnswer = dict[int, list[Newest]]
"""partition → newest first; partitions the worker cannot answer for are left out."""


class MarksQuestion(Struct):
    """partition → conversations whose marks are asked for."""

    conversations: dict[int, list[str]]


MarksAnswer = dict[int, list[Mark]]
"""partition → marks; partitions the worker cannot answer for are left out."""


class SeqsQuestion(Struct):
    """partition → conversations whose last seq is asked for."""

    conversations: dict[int, list[str]]


SeqsAnswer = dict[int, dict[str, int]]
"""partition → conversation → last seq, of those that have one; partitions the worker cannot answer
for are left out."""


class PresenceQuestion(Struct):
    """partition → users whose presence is asked for."""

    users: dict[int, list[str]]


PresenceAnswer = dict[int, list[PresenceState]]
"""partition → presence of the users of whom something is known; partitions the worker cannot answer
for are left out."""


class DevicesQuestion(Struct):
    """Which devices of a user have read something, in these partitions?"""

    user: str
    partitions: list[int]


DevicesAnswer = dict[int, list[str]]
"""partition → devices; partitions the worker cannot answer for are left out."""


class PageHead(Struct):
    """The first line of a page, before its `message` frames: the last seq that is known."""

    known: int
