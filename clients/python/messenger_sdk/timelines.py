"""What a device has shown of each conversation, and what it still has to ask for. Pure.

A conversation is shown 1, 2, 3 …: what comes early is held until what is before it has come. What
there was before the device began is history: a conversation that existed then begins at the first
message seen, or after the head it had; one that did not begins at 1.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from schemas.frames import MAX_SYNC_CONVERSATIONS, Message, Sync

MAX_HELD = 200
"""Messages of a conversation held back; what is beyond comes again in the pages that are asked
for."""


class Shown(NamedTuple):
    """A message to show now; `missing` messages before it can no longer be had here."""

    message: Message
    missing: int


class _Timeline:
    __slots__ = ("cursor", "floor", "head", "held", "missing")

    def __init__(self, cursor: int) -> None:
        self.floor = self.cursor = cursor
        self.head = cursor
        """The last seq known to exist."""
        self.held: dict[int, Message] = {}
        self.missing = 0

    def pass_over(self, cursor: int) -> None:
        """What is up to `cursor` cannot be had any more."""
        if cursor > self.cursor:
            self.missing += cursor - self.cursor
            self.cursor = cursor
            self.held = {seq: message for seq, message in self.held.items() if seq > cursor}


class Timelines:
    """The timelines of all conversations of a device; `shown` are the cursors of one that goes on
    after a restart."""

    def __init__(self, shown: Mapping[str, int] | None = None) -> None:
        self._lines = {
            conversation: _Timeline(cursor) for conversation, cursor in (shown or {}).items()
        }
        self._behind: dict[str, None] = {}
        self._floors: dict[str, int] = {}
        """By the first heads: what counts as shown of conversations of which nothing was."""
        self.begun = shown is not None
        """The first heads have all come."""

    def cursors(self) -> dict[str, int]:
        """conversation → last seq shown, or that counts as shown."""
        return self._floors | {
            conversation: line.cursor for conversation, line in self._lines.items()
        }

    def head(self, conversation: str) -> int:
        """The last seq known to exist."""
        line = self._lines.get(conversation)
        return line.head if line else self._floors.get(conversation, 0)

    def floors(self) -> dict[str, int]:
        """conversation → last seq that was history when the device began (or went on)."""
        return self._floors | {
            conversation: line.floor for conversation, line in self._lines.items()
        }

    def behind(self) -> list[str]:
        """Conversations known to go on after their cursor."""
        return list(self._behind)

    def after(self, conversation: str) -> int:
        """The cursor, 0 if nothing was shown."""
        line = self._lines.get(conversation)
        return line.cursor if line else 0

    def take(self, message: Message) -> list[Shown]:
        """A message has come, pushed or in a page: what is to be shown now, in order."""
        line = self._lines.get(message.conversation)
        if line is None:
            floor = self._floors.pop(message.conversation, 0 if self.begun else message.seq)
            line = self._lines[message.conversation] = _Timeline(min(floor, message.seq - 1))
            line.head = floor
        if message.seq <= line.cursor:
            return []
        if message.seq == line.cursor + 1 or len(line.held) < MAX_HELD:
            line.held[message.seq] = message
        line.head = max(line.head, message.seq)
        return self._go_on(message.conversation, line)

    def heads(self, heads: Mapping[str, int]) -> None:
        """The server's word on where conversations have got to."""
        for conversation, head in heads.items():
            line = self._lines.get(conversation)
            if line is None and not self.begun:
                self._floors[conversation] = head
                continue
            if line is None:
                line = self._lines[conversation] = _Timeline(self._floors.pop(conversation, 0))
            line.head = max(line.head, head)
            self._go_on(conversation, line)

    def page(self, messages: Sequence[Message], first: bool = False) -> list[Shown]:
        """What a page brings; `first`: what is before it is kept no more."""
        if first and messages and (line := self._lines.get(messages[0].conversation)) is not None:
            line.pass_over(messages[0].seq - 1)
        return [shown for message in messages for shown in self.take(message)]

    def gone(self, conversation: str) -> list[Shown]:
        """What is after the cursor cannot be had here: show on with what there is."""
        line = self._lines[conversation]
        cursor = min(line.held, default=line.head + 1) - 1
        line.pass_over(cursor)
        return self._go_on(conversation, line)

    def _go_on(self, conversation: str, line: _Timeline) -> list[Shown]:
        shown: list[Shown] = []
        while (message := line.held.pop(line.cursor + 1, None)) is not None:
            shown.append(Shown(message, line.missing))
            line.cursor, line.missing = message.seq, 0
        if line.head > line.cursor:
            self._behind[conversation] = None
        else:
            self._behind.pop(conversation, None)
        return shown


def syncs(cursors: Mapping[str, int]) -> list[Sync]:
    """The questions, without their ids, that ask after all conversations of a device, those it does
    not know included."""
    names = sorted(cursors)
    cuts = [
        names[start : start + MAX_SYNC_CONVERSATIONS]
        for start in range(0, len(names), MAX_SYNC_CONVERSATIONS)
    ] or [[]]
    bounds = ["", *(cut[-1] for cut in cuts[:-1]), ""]
    return [
        Sync(0, {name: cursors[name] for name in cut}, after, until)
        for cut, after, until in zip(cuts, bounds[:-1], bounds[1:], strict=True)
    ]
