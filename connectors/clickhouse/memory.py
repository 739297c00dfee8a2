"""`Archive` in memory. Held to the same contract suite as ClickHouse."""

import asyncio
import random
from collections import deque
from collections.abc import Sequence
from enum import Enum

from connectors.clickhouse.archive import made_for_differs, numbering_differs
from connectors.clickhouse.ports import (
    ArchivedMessage,
    ArchiveMismatch,
    ArchiveRefused,
    ArchiveUnavailable,
)
from schemas.archive import CursorRow, Row
from schemas.numbering import Numbering

_LATENCY_SECONDS = 0.02


class Fate(Enum):
    """What becomes of an insert that fails."""

    REFUSED = "refused"
    """Nothing is kept, and an operator must act."""
    LOST = "lost"
    """Nothing is kept."""
    HALF = "half"
    """The first half is kept."""
    UNHEARD = "unheard"
    """All is kept, and the answer is lost."""


class MemoryArchive:
    """`away` as long as it is set is what every method raises as ArchiveUnavailable. `fates` are
    those of the next inserts. With `chance` every answer takes a while."""

    def __init__(self, chance: random.Random | None = None) -> None:
        self.rows: dict[tuple[str, int], Row] = {}
        self.cursors: dict[tuple[str, str, str, int], int] = {}
        """(conversation, user, kind, up_to) → time."""
        self.tokens: list[str] = []
        self.away: str | None = None
        self.fates: deque[Fate] = deque()
        self._chance = chance
        self.dropped = False
        self._made_for: set[Numbering] = set()

    async def prepare(self, numbering: Numbering) -> None:
        await self._answer()
        inputs = {one.input_topic for one in self._made_for}
        reason = numbering_differs(inputs, numbering.input_topic) or made_for_differs(
            self._made_for, numbering
        )
        if reason is not None:
            raise ArchiveMismatch(reason)
        self._made_for.add(numbering)

    async def insert(self, rows: Sequence[Row], token: str) -> None:
        fate = await self._insert(token)
        for row in rows[: _kept(fate, len(rows))]:
            place = row.conversation, row.seq
            if place not in self.rows or self.rows[place].version <= row.version:
                self.rows[place] = row
        _fail(fate)

    async def insert_cursors(self, rows: Sequence[CursorRow], token: str) -> None:
        fate = await self._insert(token)
        for row in rows[: _kept(fate, len(rows))]:
            place = row[:4]
            self.cursors[place] = min(row.time, self.cursors.get(place, row.time))
        _fail(fate)

    async def page(
        self, conversation: str, *, before: int | None = None, after: int | None = None, limit: int
    ) -> Sequence[ArchivedMessage]:
        await self._answer()
        if before is not None:
            seqs = range(before - 1, max(0, before - limit - 1), -1)
        else:
            seqs = range((after or 0) + 1, (after or 0) + limit + 1)
        return [
            self._message(self.rows[conversation, seq])
            for seq in seqs
            if (conversation, seq) in self.rows
        ]

    async def last_seq(self, conversation: str) -> int:
        await self._answer()
        return max((seq for name, seq in self.rows if name == conversation), default=0)

    async def first_seq(self, conversation: str) -> int:
        await self._answer()
        return min((seq for name, seq in self.rows if name == conversation), default=0)

    async def has_dropped(self) -> bool:
        await self._answer()
        return self.dropped

    async def answers(self) -> None:
        await self._answer()

    async def close(self) -> None:
        pass

    def _message(self, row: Row) -> ArchivedMessage:
        message = ArchivedMessage.of((*row[:5], row.time, row.body, row.changes), row.version)
        changed = self.rows.get((row.conversation, row.changes))
        return message if changed is None else message.as_changed(self._message(changed))

    async def _answer(self) -> None:
        if self._chance is not None:
            await asyncio.sleep(self._chance.uniform(0.0, _LATENCY_SECONDS))
        if self.away is not None:
            raise ArchiveUnavailable(self.away)

    async def _insert(self, token: str) -> Fate | None:
        await self._answer()
        self.tokens.append(token)
        return self.fates.popleft() if self.fates else None


def _kept(fate: Fate | None, rows: int) -> int:
    if fate in (None, Fate.UNHEARD):
        return rows
    return rows // 2 if fate is Fate.HALF else 0


def _fail(fate: Fate | None) -> None:
    if fate is Fate.REFUSED:
        raise ArchiveRefused("the archive in memory refuses the insert")
    if fate is not None:
        raise ArchiveUnavailable(f"the answer to an insert is {fate.value}")
