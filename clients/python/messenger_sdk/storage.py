"""What a device keeps over a restart, and the port by which it is kept.

A device makes two kinds of records. A `Change` is about its sends, and must outlive a power cut
before the frame that rests on it leaves: an ordinal that has left the device belongs to its key for
ever. A `Note` is about what was shown and read; if it is lost, messages are shown again, so it only
has to outlive the process.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol


class Begun(NamedTuple):
    """The outbox got its id, 32 hex digits."""

    outbox: str


class Owned(NamedTuple):
    """The device is this user's; it is nobody else's from now on."""

    user: str


class Added(NamedTuple):
    """A send was queued. `changes`: it changes the message with this number; an empty `body`
    deletes that."""

    key: str
    to: str
    body: str
    changes: int = 0


class Numbered(NamedTuple):
    """A send got its ordinal: it is about to be transmitted for the first time."""

    key: str
    ordinal: int


class Finished(NamedTuple):
    """A send has its result."""

    key: str


class LaneChanged(NamedTuple):
    """How the sends to one recipient are numbered; rounds up to `round` have been used."""

    to: str
    outbox: str
    next_ordinal: int
    round: int


Change = Begun | Owned | Added | Numbered | Finished | LaneChanged


class LogMet(NamedTuple):
    """The server has the log with this id, which the device did not know: nothing of it has been
    shown."""

    log: str


class LogBegun(NamedTuple):
    """The device has its first heads of the log. Up to `floors` (conversation → seq) messages are
    history."""

    floors: Mapping[str, int]


class ShownUpTo(NamedTuple):
    """A message was shown, and all before it. `own`: this user wrote it, so it is read as well."""

    conversation: str
    seq: int
    own: bool


class ReadUpTo(NamedTuple):
    """The person has read all up to `seq`."""

    conversation: str
    seq: int


Note = LogMet | LogBegun | ShownUpTo | ReadUpTo


class SavedSend(NamedTuple):
    """A send without an answer; `ordinal` 0 if it was never transmitted. `changes` as in Added."""

    key: str
    to: str
    body: str
    ordinal: int
    changes: int = 0


class Stored(NamedTuple):
    """What a device begins with. `user` and `outbox` are empty if it is new; `sends` are in the
    order they were written. `log` is empty before the first welcome; then `shown`, `received` and
    `read` (conversation → seq) are, too. `begun`: the first heads of the log have come."""

    user: str = ""
    outbox: str = ""
    lanes: Sequence[LaneChanged] = ()
    sends: Sequence[SavedSend] = ()
    log: str = ""
    shown: Mapping[str, int] = {}
    received: Mapping[str, int] = {}
    read: Mapping[str, int] = {}
    begun: bool = False


class Storage(Protocol):
    """Keeps one device. Every method raises FolderUnreadable if it cannot."""

    def load(self) -> Stored:
        """What was kept; once, before anything else."""

    async def save(self, changes: Sequence[Change]) -> None:
        """Returns when these outlive a power cut: all of them, or none if it raises. One at a time,
        and never cancelled."""

    def note(self, notes: Sequence[Note]) -> None:
        """Returns when these outlive the process. It does not wait for a disk."""

    def close(self) -> None: ...


class MemoryStorage:
    """Storage that ends with the process. It can be given to one client after another."""

    def __init__(self) -> None:
        self._user = ""
        self._outbox = ""
        self._lanes: dict[str, LaneChanged] = {}
        self._sends: dict[str, SavedSend] = {}
        self._log = ""
        self._begun = False
        self._shown: dict[str, int] = {}
        self._received: dict[str, int] = {}
        self._read: dict[str, int] = {}

    def load(self) -> Stored:
        lanes, sends = list(self._lanes.values()), list(self._sends.values())
        seqs = dict(self._shown), dict(self._received), dict(self._read)
        return Stored(self._user, self._outbox, lanes, sends, self._log, *seqs, self._begun)

    async def save(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if type(change) is Begun:
                self._outbox = change.outbox
            elif type(change) is Owned:
                self._user = change.user
            elif type(change) is Added:
                self._sends[change.key] = SavedSend(*change[:3], 0, change.changes)
            elif type(change) is Numbered:
                self._sends[change.key] = self._sends[change.key]._replace(ordinal=change.ordinal)
            elif type(change) is Finished:
                self._sends.pop(change.key, None)
            elif type(change) is LaneChanged:
                self._lanes[change.to] = change

    def note(self, notes: Sequence[Note]) -> None:
        for note in notes:
            if type(note) is LogBegun:
                self._begun = True
                for conversation, seq in note.floors.items():
                    _raise(self._shown, conversation, seq)
            elif type(note) is LogMet:
                self._log, self._begun = note.log, False
                for seqs in (self._shown, self._received, self._read):
                    seqs.clear()
            elif type(note) is ShownUpTo:
                _raise(self._shown, note.conversation, note.seq)
                _raise(self._read if note.own else self._received, note.conversation, note.seq)
            elif type(note) is ReadUpTo:
                _raise(self._read, note.conversation, note.seq)

    def close(self) -> None:
        pass


def _raise(seqs: dict[str, int], conversation: str, seq: int) -> None:
    seqs[conversation] = max(seq, seqs.get(conversation, 0))
