"""What a fold knows of the past: the seam between the rules and the table that holds their
state."""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from schemas.events import Taken
from schemas.frames import OUTBOX_WINDOW

OutboxId = tuple[str, str, bytes]
"""(conversation, sender, outbox): the outbox ids of two users never meet."""


class Last(NamedTuple):
    """The last ordinal that the fold took from an outbox, and the log time (ms) of that."""

    ordinal: int
    time: int


class Answer(NamedTuple):
    """The answer to a taken ordinal: `seq` >= 1, or seq 0 and the refusal's `code`; `time` in
    ms."""

    key: bytes
    seq: int
    code: int
    time: int


class FoldView(Protocol):
    """The state up to some input offset, read only."""

    def seq(self, conversation: str) -> int:
        """The last sequence number of a conversation, 0 if none."""

    def last(self, outbox: OutboxId) -> tuple[int, int] | None:
        """The fields of `Last`, None if the outbox is unknown."""

    def answer(self, outbox: OutboxId, ordinal: int) -> tuple[bytes, int, int, int] | None:
        """The fields of the `Answer` to one of the last 64 taken ordinals."""


class InMemoryFoldView:
    """`FoldView` in dictionaries: for readers that keep all of it, and for tests."""

    def __init__(self) -> None:
        self.seqs: dict[str, int] = {}
        self.lasts: dict[OutboxId, Last] = {}
        self.answers: dict[tuple[OutboxId, int], tuple[int, Answer]] = {}

    def seq(self, conversation: str) -> int:
        return self.seqs.get(conversation, 0)

    def last(self, outbox: OutboxId) -> Last | None:
        return self.lasts.get(outbox)

    def answer(self, outbox: OutboxId, ordinal: int) -> Answer | None:
        held, answer = self.answers.get((outbox, ordinal % OUTBOX_WINDOW), (0, None))
        return answer if held == ordinal else None

    def take(self, taken: Iterable[Taken]) -> None:
        """Add taken ordinals to the state, in order."""
        for item in taken:
            outbox = (item.conversation, item.sender, item.outbox)
            if item.seq:
                self.seqs[item.conversation] = item.seq
            self.lasts[outbox] = Last(item.ordinal, item.time)
            answer = Answer(item.key, item.seq, item.code, item.time)
            self.answers[outbox, item.ordinal % OUTBOX_WINDOW] = item.ordinal, answer
