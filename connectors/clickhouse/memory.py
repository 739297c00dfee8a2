"""`Archive` in memory, for tests. Held to the same contract suite as ClickHouse."""

from collections.abc import Sequence

from connectors.clickhouse.archive import ArchivedConversation, ArchivedMessage, ArchiveMismatch, numbering_differs
from connectors.clickhouse.client import ArchiveUnavailable
from schemas.archive import ERASURE, CursorRow, Row
from schemas.ids import members_of_valid


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
        if before is not None:
            return await self.find([(conversation, seq) for seq in range(before - 1, max(0, before - limit - 1), -1)])
        return await self.find([(conversation, seq) for seq in range((after or 0) + 1, (after or 0) + limit + 1)])

    async def find(self, places: Sequence[tuple[str, int]]) -> Sequence[ArchivedMessage]:
        self._answer()
        rows = [self.rows[place] for place in places if place in self.rows]
        return [ArchivedMessage(*row[:5], row.time, row.body, row.version == ERASURE) for row in rows]

    async def last_seq(self, conversation: str) -> int:
        self._answer()
        return max((seq for name, seq in self.rows if name == conversation), default=0)

    async def first_seq(self, conversation: str) -> int:
        self._answer()
        return min((seq for name, seq in self.rows if name == conversation), default=0)

    async def conversations(
        self, user: str, limit: int, before: tuple[int, str] | None = None
    ) -> Sequence[ArchivedConversation]:
        self._answer()
        last: dict[str, ArchivedConversation] = {}
        for row in self.rows.values():
            if user in members_of_valid(row.conversation):
                known = last.get(row.conversation, ArchivedConversation(0, row.conversation, 0))
                last[row.conversation] = known._replace(time=max(known.time, row.time), seq=max(known.seq, row.seq))
        found = sorted(last.values(), reverse=True)
        return [one for one in found if before is None or one[:2] < before][:limit]

    async def close(self) -> None:
        pass

    def _answer(self) -> None:
        if self.away is not None:
            raise ArchiveUnavailable(self.away)
