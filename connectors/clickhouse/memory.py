"""`Archive` in memory, for tests. Held to the same contract suite as ClickHouse."""

from collections.abc import Sequence

from connectors.clickhouse.archive import ArchivedMessage, ArchiveMismatch, numbering_differs
from connectors.clickhouse.client import ArchiveUnavailable
from schemas.archive import ERASURE, CursorRow, Row


class MemoryArchive:
    """`away` as long as it is set is what every method raises as ArchiveUnavailable."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, int], Row] = {}
        self.cursors: dict[tuple[str, str, str, int], int] = {}
        """(conversation, user, kind, up_to) → time."""
        self.tokens: list[str] = []
        self.away: str | None = None
        self._numbering: set[str] = set()

    async def prepare(self, numbering: str) -> None:
        self._answer()
        reason = numbering_differs(self._numbering, numbering)
        if reason is not None:
            raise ArchiveMismatch(reason)
        self._numbering.add(numbering)

    async def insert(self, rows: Sequence[Row], token: str) -> None:
        self._answer()
        self.tokens.append(token)
        for row in rows:
            place = row.conversation, row.seq
            if place not in self.rows or self.rows[place].version <= row.version:
                self.rows[place] = row

    async def insert_cursors(self, rows: Sequence[CursorRow], token: str) -> None:
        self._answer()
        self.tokens.append(token)
        for row in rows:
            place = row[:4]
            self.cursors[place] = min(row.time, self.cursors.get(place, row.time))

    async def page(
        self, conversation: str, *, before: int | None = None, after: int | None = None, limit: int
    ) -> Sequence[ArchivedMessage]:
        self._answer()
        if before is not None:
            seqs = range(before - 1, max(0, before - limit - 1), -1)
        else:
            seqs = range((after or 0) + 1, (after or 0) + limit + 1)
        rows = [self.rows[conversation, seq] for seq in seqs if (conversation, seq) in self.rows]
        return [
            ArchivedMessage(*row[:5], row.time, row.body, row.version == ERASURE) for row in rows
        ]

    async def last_seq(self, conversation: str) -> int:
        self._answer()
        return max((seq for name, seq in self.rows if name == conversation), default=0)

    async def first_seq(self, conversation: str) -> int:
        self._answer()
        return min((seq for name, seq in self.rows if name == conversation), default=0)

    async def close(self) -> None:
        pass

    def _answer(self) -> None:
        if self.away is not None:
            raise ArchiveUnavailable(self.away)
