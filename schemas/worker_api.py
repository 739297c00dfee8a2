"""Questions of gateways to workers, and the answers: JSON over HTTP, by conversation partition.

A gateway asks the worker that owns a partition (its claim in Redis names it). Every question names
partitions, so a gateway asks one worker once for all the partitions it owns. A request has a list
of questions of one kind, and gets a list of their answers. An answer leaves out the partitions that
this worker does not own or cannot answer for now.
"""

from msgspec import Struct

from schemas.events import PersonState, PresenceState
from schemas.frames import Mark

MAX_PAGE_BYTES = 128 * 1024
"""A page of messages stays below what a socket message may hold."""

LAST_SEQ = 2**53 - 1
"""No message has a larger number."""


class RangeGone(Exception):
    """The log, or what is kept of it, no longer holds the beginning of the wanted range."""


class HeadsQuestion(Struct):
    """Which conversations of `user` have messages beyond the device's cursors?

    `cursors`: partition → conversation → last seq the device has, 0 for a conversation without an
    entry. The question covers the conversations with an id above `after` up to `until` (all, if
    empty).
    """

    user: str
    after: str
    until: str
    cursors: dict[int, dict[str, int]]


HeadsAnswer = dict[int, dict[str, int]]
"""partition → conversation → last seq: the first MAX_HEADS of each partition, by id."""


class NewestQuestion(Struct):
    """Which `limit` conversations of `user` in these partitions have the newest last messages?
    `before` (log time in ms, conversation) continues an earlier answer; None starts."""

    user: str
    limit: int
    before: tuple[int, str] | None
    partitions: list[int]


class Newest(Struct, array_like=True, order=True, frozen=True):
    """A conversation with the log time (ms) and the number of its last message. Ordered by time,
    then id."""

    time: int
    conversation: str
    seq: int


NewestAnswer = dict[int, list[Newest]]
"""partition → conversations, newest first."""


class MarksQuestion(Struct):
    """What are the marks of both users of these conversations? partition → conversations."""

    conversations: dict[int, list[str]]


MarksAnswer = dict[int, list[Mark]]
"""partition → marks."""


class SeqsQuestion(Struct):
    """What is the last seq of these conversations? partition → conversations."""

    conversations: dict[int, list[str]]


SeqsAnswer = dict[int, dict[str, int]]
"""partition → conversation → last seq, without conversations that have no message."""


class PresenceQuestion(Struct):
    """What is the presence of these users? partition → users. `whole`: everything that is in
    `presence.submitted` when the worker gets the question counts."""

    users: dict[int, list[str]]
    whole: bool = False


PresenceAnswer = dict[int, list[PresenceState]]
"""partition → states, without users that no node has ever named."""


class StancesQuestion(Struct):
    """What has a user decided about another one? partition → (who decides, about whom). `whole`:
    everything that is in `people.submitted` when the worker gets the question counts."""

    pairs: dict[int, list[tuple[str, str]]]
    whole: bool = False


class Stance(Struct, array_like=True, frozen=True):
    """What a user has decided about another one: `blocked`, who may not write; a `contact`; who
    does not see whether the user is there and types, or what they have read. `request`: the key of
    the one message that the other may send until they are accepted; they see no marks, either."""

    blocked: bool = False
    contact: bool = False
    hides_presence: bool = False
    hides_reads: bool = False
    request: bytes = b""


StancesAnswer = dict[int, list[Stance]]
"""partition → stances, for each pair of the question in order."""


class PeopleQuestion(Struct):
    """About whom have these users decided something? partition → users. Everything that is in a
    partition of `people.submitted` when the worker gets the question counts."""

    users: dict[int, list[str]]


PeopleAnswer = dict[int, list[list[PersonState]]]
"""partition → what each user of the question, in order, has decided."""


class MembershipsQuestion(Struct):
    """In which partitions of the log do these users have conversations? partition of `memberships`
    → users. Everything that is in a partition of `memberships` when the worker gets the question
    counts."""

    users: dict[int, list[str]]


MembershipsAnswer = dict[int, list[list[int]]]
"""partition of `memberships` → partitions of the log, for each user of the question in order.
Partitions that have not said all their members yet are among them."""


class DevicesQuestion(Struct):
    """On which devices has `user` read something, by these partitions?"""

    user: str
    partitions: list[int]


DevicesAnswer = dict[int, list[str]]
"""partition → device ids."""


class PageHead(Struct):
    """The first line of a page; `message` frames follow, one a line. `known` is the last seq that
    the worker knows. `changed` is the number of the conversation's last change, 0 if the log holds
    none."""

    known: int
    changed: int = 0
