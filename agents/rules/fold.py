"""The fold: sequence numbers as a pure function of `messages.submitted`.

    fold(state, input record) -> state, outcome

The fold changes the state in place. Only a taken ordinal changes more than position and time, so
the fold of the input and the fold of the log come to the same state. There is no clock and no
randomness here, and no I/O but reading `FoldView`. Any exception but `NewerVersion` is a fault of
this code, or means that the state is incomplete: the partition halts and skips nothing (R7).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from agents.rules.fold_view import Answer, FoldView, OutboxId
from schemas import ids
from schemas.codec import NewerVersion, encode_event
from schemas.codes import Code
from schemas.events import (
    ChangeSubmitted,
    FoldSwitched,
    MessageSubmitted,
    RefusalSubmitted,
    Submitted,
    SubmittedItem,
    Taken,
)
from schemas.frames import MAX_BODY_BYTES, OUTBOX_WINDOW
from schemas.submitted_codec import SetAside

DAY = 24 * 3600 * 1000


class Limits(NamedTuple):
    """What a fold version fixes: with another limit the same input would get other numbers.

    `max_body` in UTF-8 bytes. The fold forgets an outbox `forget_after` ms of log time after the
    last ordinal that it took from it.
    """

    max_body: int
    forget_after: int


VERSIONS: Mapping[int, Limits] = {1: Limits(MAX_BODY_BYTES, 90 * DAY)}
FIRST_VERSION = 1
LONGEST_SILENCE = max(limits.forget_after for limits in VERSIONS.values())
"""An outbox that was silent for longer counts as new, whichever version is in force, so its rows
may go. A later version may forget sooner, and never later: the rows are gone by then."""


class Repeat(NamedTuple):
    """An ordinal that the fold has taken before, with the answer of then."""

    item: SubmittedItem
    answer: Answer


class OutOfStep(NamedTuple):
    """An ordinal that the fold did not take: see schemas.frames.OutOfStep."""

    item: SubmittedItem
    next: int
    reason: str


class DeadItem(NamedTuple):
    """What the decoder refuses, for the dead letters. `place` is the item's index in its record; -1
    means the whole record."""

    offset: int
    place: int
    code: Code
    value: bytes


class Outcome(NamedTuple):
    """What came of one or more folded input records, each list in input order."""

    taken: list[Taken]
    answers: list[Repeat | OutOfStep]
    dead: list[DeadItem]


class StateIncomplete(Exception):
    """The state lacks what it must hold: it is not the fold of the log."""


class _Outbox:
    """An outbox in the overlay. `answers` holds those that `FoldView` may not have yet."""

    __slots__ = ("answers", "changed", "ordinal", "time")

    def __init__(self, last: tuple[int, int] | None) -> None:
        self.ordinal, self.time = last or (0, 0)
        self.answers: dict[int, Taken] = {}
        self.changed = -1


class _Conversation:
    __slots__ = ("members", "outboxes", "seq")

    def __init__(self, seq: int, members: tuple[str, str]) -> None:
        self.seq = seq
        self.members = members
        self.outboxes: dict[tuple[str, bytes], _Outbox] = {}


class FoldState:
    """State of one partition: position r, log time, fold version, and an overlay over `FoldView`.

    The overlay holds everything that was taken after `FoldView`'s position, and, as a cache, up to
    `max_clean` outboxes besides.
    """

    def __init__(
        self,
        known: FoldView,
        position: int = -1,
        time: int = 0,
        version: int = FIRST_VERSION,
        versions: Mapping[int, Limits] = VERSIONS,
        max_clean: int = 50_000,
    ) -> None:
        self.position = position
        self.changed_at = -1
        """The input offset of the last change that was folded, -1 if none was."""
        self.time = time
        self.version = version
        self._known = known
        self._versions = versions
        self._max_body, self._forget_after = versions[version]
        self._conversations: dict[str, _Conversation] = {}
        self._outboxes = 0
        self._known_position = position
        self._max_clean = max_clean

    def fold(
        self, offset: int, time: int, items: Sequence[Submitted | SetAside], outcome: Outcome
    ) -> None:
        """Fold the items of the input record at `offset` (= position + 1), adding to `outcome`.

        Raises NewerVersion before anything has changed, StateIncomplete.
        """
        if offset != self.position + 1:
            raise StateIncomplete(f"input record {offset} after {self.position}")
        self.require(offset, items)
        if items and type(items[0]) is FoldSwitched:
            self._switch(offset, items[0], outcome)
        if time > self.time:
            self.time = time
        for index, item in enumerate(items):
            kind = type(item)
            if kind is MessageSubmitted or kind is RefusalSubmitted or kind is ChangeSubmitted:
                self._submit(offset, index, item, outcome)  # type: ignore[arg-type]
            elif isinstance(item, SetAside):
                outcome.dead.append(DeadItem(offset, item.place, item.code, item.value))
                if item.refusal is not None:
                    self._submit(offset, index, item.refusal, outcome)
        self.position = offset

    def require(self, offset: int, items: Sequence[Submitted | SetAside]) -> None:
        """Raises NewerVersion if they are for newer code than this."""
        first = items[0] if items else None
        if type(first) is not FoldSwitched or first.fold_version < self.version:
            return
        if first.fold_version not in self._versions:
            raise NewerVersion(
                f"offset {offset} switches to fold version {first.fold_version}; this code folds "
                f"up to {max(self._versions)}"
            )

    def skip(self, first: int, last: int) -> None:
        """Go on after the input offsets `first` (= position + 1) to `last`, which an operator has
        set aside. Raises StateIncomplete."""
        if first != self.position + 1:
            raise StateIncomplete(f"input record {first} after {self.position}")
        self.position = last

    def folded(self, position: int) -> None:
        """`FoldView` holds everything up to input offset `position` now."""
        self._known_position = position
        if self._outboxes > self._max_clean:
            self._evict(position)

    def _evict(self, position: int) -> None:
        kept: dict[str, _Conversation] = {}
        self._outboxes = 0
        for name, conversation in self._conversations.items():
            changed = {
                key: outbox
                for key, outbox in conversation.outboxes.items()
                if outbox.changed > position
            }
            if changed:
                conversation.outboxes = changed
                kept[name] = conversation
                self._outboxes += len(changed)
        self._conversations = kept

    def _switch(self, offset: int, item: FoldSwitched, outcome: Outcome) -> None:
        if item.fold_version < self.version:
            outcome.dead.append(DeadItem(offset, 0, Code.CONTROL_INVALID, encode_event(item)))
        else:
            self.version = item.fold_version
            self._max_body, self._forget_after = self._versions[self.version]

    def _submit(self, offset: int, index: int, item: SubmittedItem, outcome: Outcome) -> None:
        conversation = self._conversations.get(item.conversation) or self._load(item.conversation)
        if conversation is None or item.sender not in conversation.members:
            outcome.dead.append(DeadItem(offset, index, Code.NOT_A_MEMBER, encode_event(item)))
            return
        name = (item.sender, item.outbox)
        outbox = conversation.outboxes.get(name)
        if outbox is None:
            outbox = conversation.outboxes[name] = _Outbox(
                self._known.last((item.conversation, *name))
            )
            self._outboxes += 1
        ordinal, time = item.ordinal, self.time
        last_ordinal = outbox.ordinal if time - outbox.time <= self._forget_after else 0
        if ordinal != last_ordinal + 1:
            outcome.answers.append(self._answer_again(outbox, last_ordinal, item))
            return
        if isinstance(item, MessageSubmitted):
            body, changes = item.body, None
            if type(item) is ChangeSubmitted:
                changes, self.changed_at = item.changes, offset
            code = 0 if body and len(body) * 4 <= self._max_body else self._refusal(item)
        else:
            body, code, changes = "", item.code, None
        seq = 0
        if not code:
            seq = conversation.seq = conversation.seq + 1
        if outbox.changed <= self._known_position:
            outbox.answers.clear()
        outbox.changed = offset
        outbox.ordinal = ordinal
        outbox.time = time
        taken = outbox.answers[ordinal] = Taken(
            offset,
            time,
            item.conversation,
            item.sender,
            item.device,
            item.outbox,
            ordinal,
            item.key,
            seq,
            code,
            "" if code else body,
            None if code else changes,
        )
        outcome.taken.append(taken)

    def _load(self, name: str) -> _Conversation | None:
        try:
            members = ids.members_of(name)
        except ids.InvalidId:
            return None
        conversation = self._conversations[name] = _Conversation(self._known.seq(name), members)
        return conversation

    def _refusal(self, item: MessageSubmitted) -> int:
        """The code by which a body is refused, 0 if it is not. An empty one deletes."""
        body = item.body
        if not body:
            return 0 if type(item) is ChangeSubmitted else Code.BODY_EMPTY.number
        return Code.BODY_TOO_LARGE.number if len(body.encode()) > self._max_body else 0

    def _answer_again(
        self, outbox: _Outbox, last_ordinal: int, item: SubmittedItem
    ) -> Repeat | OutOfStep:
        if item.ordinal > last_ordinal:
            return OutOfStep(item, last_ordinal + 1, "gap")
        if item.ordinal <= last_ordinal - OUTBOX_WINDOW:
            return OutOfStep(item, last_ordinal + 1, "too_old")
        name: OutboxId = (item.conversation, item.sender, item.outbox)
        taken = outbox.answers.get(item.ordinal)
        known = (
            (taken.key, taken.seq, taken.code, taken.time)
            if taken
            else self._known.answer(name, item.ordinal)
        )
        if known is None:
            raise StateIncomplete(f"no answer to ordinal {item.ordinal} of {last_ordinal}")
        answer = Answer(*known)
        if answer.key != item.key:
            return OutOfStep(item, last_ordinal + 1, "reused")
        return Repeat(item, answer)
