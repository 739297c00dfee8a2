"""One partition of the receipts: what devices say they have received and read, into cursors
(R10)."""

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from agents.rules.cursors import Cursor, CursorId, Outcome, fold_kept, fold_receipts, mark_of
from agents.rules.marks import deliveries
from agents.table_stage.changelog_restore import read_kept
from agents.table_stage.io import TableStageIO
from agents.table_stage.partition import Partition
from schemas.codec import decode_cursor, decode_receipts, encode_event
from schemas.events import SCHEMA_VERSION, CursorRecord, DeviceForgotten, Receipt
from schemas.frames import Mark
from schemas.ids import members_of_valid
from schemas.topics import CURSORS, RECEIPTS
from streams.earlier_stage import GoOn
from streams.tables.cursors import CursorTable
from streams.tables.rocks import RocksBudget


class CursorsPartition(Partition[Receipt | DeviceForgotten]):
    """What can be asked for, and what is told, is in the topic `cursors` before: the next owner
    knows it, too."""

    def __init__(
        self,
        number: int,
        outside: TableStageIO,
        state_dir: Path,
        budget: RocksBudget,
        figures: Counter[str],
        go_on: GoOn,
    ) -> None:
        self._folder = state_dir / f"cursors-{number}"
        self._budget = budget
        self._table: CursorTable | None = None
        super().__init__(number, outside, figures, go_on)

    def decode(self, value: bytes) -> Sequence[Receipt | DeviceForgotten]:
        return decode_receipts(value).items

    @property
    def readable(self) -> bool:
        return self._table is not None

    def marks(self, conversations: Sequence[str]) -> list[Mark] | None:
        """Marks of both users of each conversation; None if this partition is not here. What was
        folded is in it, and what is told later finds the route of who asks now."""
        table = self._table
        if table is None:
            return None
        found = [
            mark_of(table, name, user) for name in conversations for user in members_of_valid(name)
        ]
        return [mark for mark in found if mark.received]

    def devices(self, user: str) -> list[str] | None:
        """The devices of a user that have read something; None if this partition is not here."""
        return None if self._table is None else list(self._table.devices(user))

    async def restore(self) -> int:
        offset, outdone = await self.in_thread(self._restore)
        await self._keep(outdone)
        return offset

    def _restore(self) -> tuple[int, dict[CursorId, Cursor]]:
        """Opens the table; the input offset, and cursors whose last record in the topic is lower
        than they are."""
        with contextlib.closing(self.outside.reader()) as reader:
            offset = self.input_offset(reader, RECEIPTS)
            self._table, outdone = read_kept(
                self,
                reader,
                CURSORS,
                self._folder,
                lambda: CursorTable(self._folder, self._budget),
                _fold_kept,
            )
        return offset, outdone

    async def fold(self, facts: Sequence[tuple[Receipt | DeviceForgotten, int, int]]) -> None:
        table = self._table
        assert table is not None
        outcome = Outcome({}, {})
        fold_receipts(table, [(fact, time) for fact, time, _ in facts], outcome)
        await self._keep(outcome.changed)
        table.write(outcome.changed)
        self.figures["changed"] += len(outcome.changed)
        await self._tell(table, outcome.told)

    async def _keep(self, cursors: Mapping[CursorId, Cursor]) -> None:
        records = [
            (
                self.number,
                encode_event(CursorRecord(SCHEMA_VERSION, *cursor, *value)),
                "\0".join(cursor).encode(),
            )
            for cursor, value in cursors.items()
        ]
        await self.outside.keep(CURSORS, records)

    async def _tell(self, table: CursorTable, told: dict[tuple[str, str], bool]) -> None:
        if told:
            marks = [
                (mark_of(table, conversation, user), own)
                for (conversation, user), own in told.items()
            ]
            users = sorted(
                {user for mark, _ in marks for user in members_of_valid(mark.conversation)}
            )
            await self.tell(
                deliveries(marks, await self.outside.lookup(users, self.waits_for_redis))
            )

    def let_go(self) -> None:
        if self._table is not None:
            self._table.close()
            self._table = None


def _fold_kept(
    table: CursorTable,
    values: Iterator[bytes],
    changed: dict[CursorId, Cursor],
    outdone: dict[CursorId, Cursor],
) -> None:
    fold_kept(table, map(decode_cursor, values), changed, outdone)
