"""What a device has shown of each conversation, and what it still has to ask for. Pure.

A device shows each conversation as 1, 2, 3 …: it buffers a message that comes early until those
before it have come. Messages from before the device began are history. In a conversation that
existed then, the device begins with the first message that comes, or after the head that the server
named. Any other conversation begins at 1.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from schemas.frames import MAX_SYNC_CONVERSATIONS, Message, Sync

MAX_BUFFERED = 200
"""Early messages that are buffered of one conversation. Those beyond come again in the pages that
are asked for."""
MAX_BUFFERED_IN_ALL = 2000


class Shown(NamedTuple):
    """A message to show now; `missing` messages before it can no longer be had here."""

    message: Message
    missing: int


class _Timeline:
    __slots__ = ("buffered", "cursor", "floor", "head", "missing")

    cursor: int
    """The last seq shown, or that counts as shown."""
    floor: int
    """The last seq that is history."""
    head: int
    """The last seq known to exist."""
    buffered: dict[int, Message]
    missing: int
    """Messages that were passed over since the last one shown."""

    def __init__(self, cursor: int) -> None:
        self.floor = self.cursor = self.head = cursor
        self.buffered = {}
        self.missing = 0


class Timelines:
    """The timelines of all conversations of a device. `shown` are the cursors of one that goes on
    after a restart; `begun`: it had its first heads before."""

    def __init__(self, shown: Mapping[str, int] | None = None, begun: bool = False) -> None:
        self._lines = {
            conversation: _Timeline(cursor) for conversation, cursor in (shown or {}).items()
        }
        self._buffered = 0
        self._behind: dict[str, None] = {}
        self._floors: dict[str, int] = {}
        """conversation → head that the first heads named: up to it everything counts as shown,
        although nothing was."""
        self.begun = begun
        """Whether the first heads have all come."""

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

    def accept(self, message: Message, room: bool = True) -> list[Shown]:
        """A message has come, pushed or in a page. Returns what can be shown now, in order. Without
        `room` the message is dropped: only that it exists is remembered, so a page brings it."""
        line = self._lines.get(message.conversation)
        if line is None:
            floor = self._floors.pop(message.conversation, 0 if self.begun else message.seq)
            line = self._lines[message.conversation] = _Timeline(min(floor, message.seq - 1))
            line.head = floor
        if message.seq <= line.cursor:
            return []
        line.head = max(line.head, message.seq)
        if room and (message.seq == line.cursor + 1 or self._may_buffer(line, message.seq)):
            self._buffered += message.seq not in line.buffered
            line.buffered[message.seq] = message
        return self._go_on(message.conversation, line)

    def heads(self, heads: Mapping[str, int]) -> None:
        """The server has named the last seq of these conversations."""
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
        """A page has come; `first`: nothing before it is kept. Returns what can be shown now."""
        if first and messages and (line := self._lines.get(messages[0].conversation)) is not None:
            self._pass_over(line, messages[0].seq - 1)
        return [shown for message in messages for shown in self.accept(message)]

    def gone(self, conversation: str) -> list[Shown]:
        """The server cannot give what is after the cursor: show on with what there is."""
        line = self._lines[conversation]
        self._pass_over(line, min(line.buffered, default=line.head + 1) - 1)
        return self._go_on(conversation, line)

    def _may_buffer(self, line: _Timeline, seq: int) -> bool:
        return seq in line.buffered or (
            len(line.buffered) < MAX_BUFFERED and self._buffered < MAX_BUFFERED_IN_ALL
        )

    def _pass_over(self, line: _Timeline, cursor: int) -> None:
        """What is up to `cursor` cannot be had any more."""
        if cursor > line.cursor:
            line.missing += cursor - line.cursor
            line.cursor = cursor
            for seq in [seq for seq in line.buffered if seq <= cursor]:
                del line.buffered[seq]
                self._buffered -= 1

    def _go_on(self, conversation: str, line: _Timeline) -> list[Shown]:
        shown: list[Shown] = []
        while (message := line.buffered.pop(line.cursor + 1, None)) is not None:
            self._buffered -= 1
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
