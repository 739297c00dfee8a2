"""The judge's own fold of `messages.submitted`: which number each message must have.

It was written from docs/RULES.md (R1.4 to R1.6, R7), without a line of the sequencer's
`agents/rules/fold.py`, and shares none with it (`make lint` checks that). It keeps less: it answers
nobody, so it needs no answers of earlier sends.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec

from ops.audit.submitted import Control, NewerRecord, Send, Switch, read_submitted
from schemas.events import Taken

_DAY_MS = 24 * 3600 * 1000
_USER = r"[a-z0-9][a-z0-9._-]{0,63}"
_CONVERSATION = re.compile(f"({_USER}):({_USER})")
_BODY_EMPTY, _BODY_TOO_LARGE = 110, 111


class Limits(NamedTuple):
    """What a fold version fixes. `body` in bytes of UTF-8. An outbox from which nothing was taken
    for more than `silence` ms of log time counts as new."""

    body: int
    silence: int


VERSIONS = {1: Limits(16 * 1024, 90 * _DAY_MS)}


Change = tuple[dict[Any, Any], Any, Any]
"""A mapping, its key that has changed, and what was there before; None for nothing."""


class SecondFold(msgspec.Struct):
    """The fold of one partition's input up to offset `position`. `time` is the log time there, and
    `version` the fold version. So many items or records were `set_aside`.

    `numbers`: conversation → its last number. `outboxes`: the name of an outbox in a conversation →
    its last ordinal, and the log time of that.
    """

    position: int = -1
    time: int = 0
    version: int = 1
    set_aside: int = 0
    numbers: dict[str, int] = msgspec.field(default_factory=dict)
    outboxes: dict[bytes, tuple[int, int]] = msgspec.field(default_factory=dict)

    def record(
        self,
        offset: int,
        time: int,
        value: bytes,
        limits: Callable[[int], Limits | None] = VERSIONS.get,
        changes: list[Change] | None = None,
    ) -> list[Taken]:
        """Fold the input record at `offset`, which follows `position`, and return what it takes.
        `time` is the broker's. `changes` gets what was there before. Raises NewerRecord, and has
        changed nothing then."""
        self._require_next(offset)
        asked = read_submitted(value)
        self._require_known(asked.control, limits)
        self.set_aside += asked.set_aside
        if isinstance(asked.control, Switch):
            self._switch(asked.control)
        now = limits(self.version)
        assert now is not None
        self.position = offset
        self.time = max(self.time, time)
        taken = (self._take(offset, send, now, changes) for send in asked.sends)
        return [item for item in taken if item is not None]

    def skip(
        self,
        offset: int,
        value: bytes,
        limits: Callable[[int], Limits | None] = VERSIONS.get,
    ) -> None:
        """Go on after the input record at `offset`, which an operator has set aside: it takes
        nothing, and no time (R7.7). Raises NewerRecord."""
        self._require_next(offset)
        asked = read_submitted(value)
        self._require_known(asked.control, limits)
        if asked.sends or asked.control is not None or asked.set_aside:
            self.set_aside += 1
        self.position = offset

    def trust(self, position: int, time: int, version: int, taken: Iterable[Taken]) -> None:
        """Be as the log says it was after input offset `position`, since the input is gone: these
        ordinals were taken since `self.position`."""
        for item in taken:
            if item.seq:
                self.numbers[item.conversation] = item.seq
            name = f"{item.conversation}\0{item.sender}\0".encode() + item.outbox
            self.outboxes[name] = item.ordinal, item.time
        self.position, self.time, self.version = position, max(self.time, time), version

    def undo(
        self, changes: list[Change], position: int, time: int, version: int, set_aside: int
    ) -> None:
        """Be again as before these changes."""
        for mapping, key, before in reversed(changes):
            if before is None:
                del mapping[key]
            else:
                mapping[key] = before
        self.position, self.time, self.version = position, time, version
        self.set_aside = set_aside

    def _require_next(self, offset: int) -> None:
        if offset != self.position + 1:
            raise ValueError(f"input offset {offset} does not follow {self.position}")

    def _require_known(
        self, control: Control | None, limits: Callable[[int], Limits | None]
    ) -> None:
        if (
            isinstance(control, Switch)
            and control.version >= self.version
            and limits(control.version) is None
        ):
            raise NewerRecord(
                f"fold version {control.version}; this code folds up to {max(VERSIONS)}"
            )

    def _switch(self, asked: Switch) -> None:
        if asked.version < self.version:
            self.set_aside += 1
        else:
            self.version = asked.version

    def _take(
        self, offset: int, send: Send, limits: Limits, changes: list[Change] | None
    ) -> Taken | None:
        conversation, sender, device, outbox, ordinal, key, code, body, _, of = send
        if not _may_send(conversation, sender):
            self.set_aside += 1
            return None
        name = f"{conversation}\0{sender}\0".encode() + outbox
        last, when = self.outboxes.get(name, (0, 0))
        if self.time - when > limits.silence:
            last = 0
        if ordinal != last + 1:
            return None
        if not code:
            code = _refused(body, limits, deletes=of is not None and not body)
        number = 0
        if changes is not None:
            changes.append((self.outboxes, name, self.outboxes.get(name)))
            if not code:
                changes.append((self.numbers, conversation, self.numbers.get(conversation)))
        if not code:
            number = self.numbers[conversation] = self.numbers.get(conversation, 0) + 1
        self.outboxes[name] = ordinal, self.time
        return Taken(
            offset,
            self.time,
            conversation,
            sender,
            device,
            outbox,
            ordinal,
            key,
            number,
            code,
            "" if code else body,
            None if code else of,
        )

    def forget_silent(self) -> None:
        """Forget the outboxes that count as new anyway."""
        limits = VERSIONS[self.version]
        self.outboxes = {
            name: (last, when)
            for name, (last, when) in self.outboxes.items()
            if self.time - when <= limits.silence
        }


def _may_send(conversation: str, sender: str) -> bool:
    users = _CONVERSATION.fullmatch(conversation)
    return users is not None and users[1] < users[2] and sender in (users[1], users[2])


def _refused(body: str, limits: Limits, deletes: bool) -> int:
    """The code by which the fold refuses a body, 0 if it does not."""
    if not body and not deletes:
        return _BODY_EMPTY
    return _BODY_TOO_LARGE if len(body.encode()) > limits.body else 0
