"""The marks of both users of each conversation, as a device knows them, and the receipts it sends.
Pure.

A receipt holds for all messages up to its seq. The device keeps the highest of each conversation
and sends it once. It sends it again if the server's marks do not show it: a receipt of an earlier
session may have been lost, or the server did not take it. Times are seconds of any one clock.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

from messenger_sdk.backoff import LOST_SECONDS, ask_again
from schemas.frames import MAX_MARKED, Error, GetMarks, Mark, Marks, Message, Read, Received


class MarkBook:
    """The marks of one device of `user` (set it when it is known), in one numbering of messages.
    `jitter` from [0, 1), `ids` for the questions; `received` and `read`: conversation → seq of the
    receipts that the device made before this start."""

    def __init__(
        self,
        jitter: Callable[[], float],
        ids: Iterator[int],
        received: Mapping[str, int] | None = None,
        read: Mapping[str, int] | None = None,
    ) -> None:
        self.user = ""
        self._jitter = jitter
        self._ids = ids
        self._marks: dict[tuple[str, str], Mark] = {}
        self._received: dict[str, int] = dict(received or {})
        self._read: dict[str, int] = dict(read or {})
        self._unsent: dict[str, None] = {}
        self._to_ask: list[tuple[float, list[str]]] = []
        self._asked_after: set[str] = set()
        """Conversations asked after in this session: what is news of them is pushed."""
        self._asked: dict[int, list[str]] = {}
        """The question under way: one at most."""
        self._lost_at = 0.0
        self._failures = 0
        self._refusals = 0
        self._doubt_at: float | None = None
        """When to ask for marks, because the server did not take a receipt."""

    def received(self, conversation: str, seq: int) -> None:
        """This device has shown all up to `seq`."""
        if seq > self._received.get(conversation, 0):
            self._received[conversation] = seq
            self._unsent[conversation] = None

    def read(self, conversation: str, seq: int) -> None:
        """The person has read all up to `seq` here."""
        if seq > self._read.get(conversation, 0):
            self._read[conversation] = seq
            self._unsent[conversation] = None

    def shown(self, message: Message) -> None:
        """A message is shown, and all before it. A user who writes has read: the user's own
        message, from whichever device, counts as read."""
        if message.sender == self.user:
            self.read(message.conversation, message.seq)

    def receipts(self) -> list[Received | Read]:
        """The receipts to send now."""
        due: list[Received | Read] = []
        for conversation in self._unsent:
            received, read = self._received.get(conversation, 0), self._read.get(conversation, 0)
            if read:
                due.append(Read(conversation, read))
            if received > read:
                due.append(Received(conversation, received))
        self._unsent.clear()
        return due

    def begin(self, conversations: Iterable[str], now: float) -> None:
        """A new session, or pushes may have been missed: ask after these conversations."""
        self._asked.clear()
        self._doubt_at = None
        self._to_ask, self._asked_after = [], set()
        self.found(conversations, now)

    def found(self, conversations: Iterable[str], now: float) -> None:
        """There are these conversations, too: ask for the marks they got while this device was
        away."""
        new = set(conversations) - self._asked_after
        self._asked_after |= new
        self._to_ask += _stretches(new, now)

    def question(self, now: float) -> GetMarks | None:
        """What to ask now: one question at a time."""
        if self._asked and self._lost_at <= now:
            self._to_ask[:0] = [(now, asked) for asked in self._asked.values()]
            self._asked.clear()
        if self._doubt_at is not None and self._doubt_at <= now:
            self._doubt_at = None
            self._to_ask[:0] = _stretches(
                self._not_known(self._received.keys() | self._read.keys()), now
            )
        if self._asked or not self._to_ask or self._to_ask[0][0] > now:
            return None
        id_ = next(self._ids)
        self._asked[id_] = self._to_ask.pop(0)[1]
        self._lost_at = now + LOST_SECONDS
        return GetMarks(id_, self._asked[id_])

    def wake_at(self) -> float | None:
        """When to look for a question again, if no answer comes before."""
        if self._asked:
            return self._lost_at
        times = [at for at, _ in self._to_ask[:1]] + (
            [] if self._doubt_at is None else [self._doubt_at]
        )
        return min(times, default=None)

    def answer(self, marks: Marks, now: float) -> list[Mark]:
        """The answer to a question. Returns the marks that are news; receipts that the server does
        not know are sent again."""
        asked = self._asked.pop(marks.id, None)
        if asked is None:
            return []
        if marks.pending:
            self._ask_later(asked, now)
        else:
            self._failures = 0
        news = [mark for mark in marks.marks if self.accept(mark)]
        not_known = self._not_known(asked)
        self._unsent.update(dict.fromkeys(not_known))
        if not not_known:
            self._refusals = 0
        return news

    def error(self, error: Error, now: float) -> bool:
        """Whether the error is about marks. A question is asked again if the error may pass. An
        error that names no command is of a receipt that the server did not take: the device finds
        out which by asking for its marks, in a while."""
        if error.retry and error.id is None and error.to is None:
            if self._doubt_at is None:
                self._doubt_at = now + ask_again(self._refusals, self._jitter())
                self._refusals += 1
            return True
        asked = self._asked.pop(error.id or 0, None)
        if asked is not None and error.retry:
            self._ask_later(asked, now)
        return asked is not None

    def accept(self, mark: Mark) -> bool:
        """A mark has come, pushed or in an answer; True if it is news."""
        known = self._marks.get((mark.conversation, mark.user))
        if known is not None and mark.received <= known.received and mark.read <= known.read:
            return False
        self._marks[mark.conversation, mark.user] = _merged(known, mark)
        return True

    def mark(self, conversation: str, user: str) -> Mark:
        """What a user has received and read of a conversation, as far as is known."""
        return self._marks.get((conversation, user)) or Mark(conversation, user, 0, 0, 0, 0)

    def read_up_to(self, conversation: str) -> int:
        """What this user has read, here or elsewhere."""
        return max(self._read.get(conversation, 0), self.mark(conversation, self.user).read)

    def _not_known(self, conversations: Iterable[str]) -> list[str]:
        """Those of which this device has sent more than the server's marks show."""
        return [
            name
            for name in conversations
            if self._received.get(name, 0) > self.mark(name, self.user).received
            or self._read.get(name, 0) > self.mark(name, self.user).read
        ]

    def _ask_later(self, conversations: list[str], now: float) -> None:
        self._to_ask.append((now + ask_again(self._failures, self._jitter()), conversations))
        self._failures += 1


def _stretches(conversations: Iterable[str], at: float) -> list[tuple[float, list[str]]]:
    names = sorted(conversations)
    return [(at, names[start : start + MAX_MARKED]) for start in range(0, len(names), MAX_MARKED)]


def _merged(known: Mark | None, mark: Mark) -> Mark:
    if known is None:
        return mark
    received = mark if mark.received > known.received else known
    read = mark if mark.read > known.read else known
    return Mark(
        mark.conversation,
        mark.user,
        received.received,
        received.received_at,
        read.read,
        read.read_at,
    )
