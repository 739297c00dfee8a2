"""One partition of the receipts: what devices say they have received and read, into cursors
(R10)."""

from collections.abc import Sequence

from agents.route_lookups import RouteLookups
from agents.rules.cursors import Cursor, CursorId, Outcome, fold_receipts, is_late, mark_of
from agents.rules.marks import deliveries
from connectors.kafka.record import Record
from schemas.codec import decode_cursor, decode_receipts, encode_event
from schemas.events import (
    SCHEMA_VERSION,
    CursorRecord,
    DeviceForgotten,
    Notification,
    NotificationRecord,
    Receipt,
    Unreached,
)
from schemas.frames import Mark
from schemas.ids import members_of_valid
from schemas.topics import NOTIFICATIONS
from streams.backlog import Told
from streams.partition import PartitionRuntime
from streams.sending import send_all
from streams.table_partition import TableIO, TablePartition
from streams.tables.cursors import CursorTable

Fact = Receipt | DeviceForgotten | Unreached


class CursorsPartition(TablePartition[Fact, CursorTable, CursorId, Cursor]):
    """It writes a cursor to the topic `cursors` before it answers with it or delivers it. So the
    next owner knows the cursor, too."""

    def __init__(
        self,
        number: int,
        runtime: PartitionRuntime,
        io: TableIO[CursorTable],
        lookups: RouteLookups,
    ) -> None:
        super().__init__(number, runtime, io)
        self._lookups = lookups

    def decode(self, record: Record) -> Sequence[Fact]:
        return decode_receipts(record.value).items

    def change(self, value: bytes) -> tuple[CursorId, Cursor]:
        record = decode_cursor(value)
        cursor = record.conversation, record.user, record.device
        return cursor, Cursor(record.seq, record.time)

    def known(self, table: CursorTable, key: CursorId) -> Cursor:
        return Cursor(*table.get(key))

    def is_late(self, value: Cursor, known: Cursor) -> bool:
        return is_late(value, known)

    def record(self, key: CursorId, value: Cursor) -> tuple[bytes, bytes]:
        cursor = CursorRecord(SCHEMA_VERSION, *key, *value)
        return encode_event(cursor), "\0".join(key).encode()

    async def fold(self, facts: Sequence[Told[Fact]]) -> None:
        table = self.table
        if table is None:
            return
        outcome = Outcome({}, {}, [])
        fold_receipts(table, [(told.fact, told.time) for told in facts], outcome)
        await self._notify(outcome.notifications)
        await self.append(outcome.changed)
        table.write(outcome.changed)
        self.figures["changed"] += len(outcome.changed)
        await self._deliver(table, outcome.published)

    async def _notify(self, notifications: Sequence[Notification]) -> None:
        """Before the cursors that say that it is done: the next owner may do it again, and forgets
        none."""
        if not notifications:
            return
        records = [
            (self.number, encode_event(NotificationRecord(SCHEMA_VERSION, one)), one.user.encode())
            for one in notifications
        ]
        sent = send_all(self._io.producer, NOTIFICATIONS, records)
        await self.retry.acknowledged(sent, f"records of {NOTIFICATIONS}/{self.number}")
        self.figures["notifications"] += len(notifications)

    async def _deliver(self, table: CursorTable, told: dict[tuple[str, str], bool]) -> None:
        """Deliver the mark of each (conversation, user) to the devices that show it."""
        if not told:
            return
        marks = [
            (mark_of(table, conversation, user), own) for (conversation, user), own in told.items()
        ]
        users = sorted({user for mark, _ in marks for user in members_of_valid(mark.conversation)})
        await self.deliver(deliveries(marks, await self._lookups.lookup(users)))

    # What gateways ask

    def marks(self, conversations: Sequence[str]) -> list[Mark]:
        """Marks of both users of each conversation, from all that is folded. A mark that changes
        later is delivered to the asking device, whose route is written before it asks."""
        table = self.table
        assert table is not None
        found = [
            mark_of(table, name, user) for name in conversations for user in members_of_valid(name)
        ]
        return [mark for mark in found if mark.received]

    def devices(self, user: str) -> list[str]:
        """The devices of a user that have read something."""
        assert self.table is not None
        return list(self.table.devices(user))
