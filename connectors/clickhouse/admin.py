"""What an operator does with the archive: migrations, retention, backup, repair. Blocking."""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import clickhouse_connect

from connectors.clickhouse.archive import CURSOR_TYPES, CURSORS, TABLE, TYPES, numbering_differs
from connectors.clickhouse.client import FAILURES, Address, translated
from connectors.clickhouse.ports import ArchiveMismatch
from schemas.archive import CursorRow, Migration, Row, migrations

_TIMEOUT = 6 * 3600.0
_ADDED = {
    "numbering": 1,
    "made_for": 7,
    "messages": 1,
    "daily_counts": 3,
    "cursors": 4,
    "dropped": 6,
}
"""Tables that a backup adds to, and the migration that made each: an older backup lacks some.
`dropped` is the last: until it is there, readers do not take what they find for all there is."""
_COLUMNS = (
    "conversation, seq, key, sender, device, body, toUnixTimestamp64Milli(time), version, "
    "log_partition, log_offset, changes"
)


class ArchiveNewer(Exception):
    """The archive was migrated by newer code than this."""


class Month(NamedTuple):
    """One partition of a table. `name` is YYYYMM; `rows` and `bytes` are those on disk, with
    repeated rows."""

    table: str
    name: str
    rows: int
    bytes: int


class ArchiveAdmin:
    """The archive, as user `admin`. All methods raise ArchiveUnavailable, ArchiveRefused. Close
    it."""

    def __init__(self, url: str) -> None:
        self.address = Address.parse(url)
        with self._errors():
            self._client = clickhouse_connect.get_client(
                **self.address.options(_TIMEOUT), form_encode_query_params=True
            )

    def close(self) -> None:
        self._client.close()

    # Migrations

    def applied(self) -> int:
        """The number of the last migration that was applied, 0 before the first."""
        exists = self._rows(
            "SELECT count() FROM system.tables WHERE database = 'archive' AND name = 'migrations'"
        )[0][0]
        return int(self._rows("SELECT max(number) FROM archive.migrations")[0][0]) if exists else 0

    def migrate(self, say: Callable[[Migration], None]) -> None:
        """Apply the missing migrations in order, and call `say` before each. Two processes may do
        so at once, because every statement may be repeated. Raises ArchiveNewer."""
        known = migrations()
        applied = self.applied()
        if applied > known[-1].number:
            raise ArchiveNewer(
                f"the archive is of migration {applied}, this code knows {known[-1].number}: run "
                "the newer code's migrate"
            )
        self.run("CREATE DATABASE IF NOT EXISTS archive ENGINE = Atomic")
        self.run(
            "CREATE TABLE IF NOT EXISTS archive.migrations (number UInt16, name String, applied "
            "DateTime DEFAULT now()) "
            "ENGINE = ReplacingMergeTree ORDER BY number"
        )
        for migration in known[applied:]:
            say(migration)
            for statement in migration.statements:
                self.run(statement)
            self.run(
                "INSERT INTO archive.migrations (number, name) VALUES ({number:UInt16}, "
                "{name:String})",
                {"number": migration.number, "name": migration.name},
            )

    # Retention

    def months(self) -> list[Month]:
        """The partitions of messages and cursors, oldest first."""
        text = (
            "SELECT table, partition, sum(rows), sum(bytes_on_disk) FROM system.parts WHERE "
            "database = 'archive' "
            "AND table IN ('messages', 'cursors') AND active GROUP BY table, partition ORDER BY "
            "partition, table DESC"
        )
        return [Month(*row) for row in self._rows(text)]

    def drop(self, month: Month) -> None:
        """Delete a month of a table for good."""
        self.run(f"ALTER TABLE archive.{month.table} DROP PARTITION {int(month.name)}")

    def say_dropped(self, before: str) -> None:
        """Write down that messages of months before `before` (YYYYMM) are gone for good; call it
        before they are dropped."""
        self.run(
            "INSERT INTO archive.dropped (before) VALUES ({month:UInt32})", {"month": int(before)}
        )

    def has_dropped(self) -> bool:
        """Whether that was ever written down."""
        return bool(self._rows("SELECT count() FROM archive.dropped")[0][0])

    def begin_late(self) -> int:
        """How many conversations do not begin with number 1 here."""
        text = (
            f"SELECT count() FROM (SELECT conversation FROM {TABLE} GROUP BY conversation HAVING "
            "min(seq) > 1)"
        )
        return int(self._rows(text)[0][0])

    def forget_conversations(self, before: str) -> None:
        """Delete the entries of conversations that have no message since month `before` (YYYYMM)
        began."""
        self.run(
            "ALTER TABLE archive.user_conversations DELETE WHERE (user, conversation) IN ("
            "SELECT user, conversation FROM archive.user_conversations GROUP BY user, conversation "
            "HAVING toYYYYMM(max(time)) < {month:UInt32}) SETTINGS mutations_sync = 1",
            {"month": int(before)},
        )

    # Backup

    def backup(self, folder: str) -> None:
        """Write the whole database into `folder`, which must be empty, and which the server must be
        allowed to write."""
        self.run(f"BACKUP DATABASE archive TO File({_quoted(folder)})")

    def restore(self, folder: str) -> None:
        """The whole database as it was backed up in `folder`, in place of none. `dropped` comes
        last: until it is there, readers do not take what they find for all there is."""
        source = f"FROM File({_quoted(folder)})"
        self.run(f"RESTORE DATABASE archive EXCEPT TABLES archive.dropped {source}")
        if self.applied() >= _ADDED["dropped"]:
            self.run(f"RESTORE TABLE archive.dropped {source}")

    def add_from(self, folder: str) -> None:
        """Add the messages, cursors and counts of the backup in `folder` to the archive. Rows
        that it has already stay as they are. Raises ArchiveMismatch."""
        self.run("DROP DATABASE IF EXISTS archive_restored SYNC")
        self.run("CREATE DATABASE archive_restored ENGINE = Atomic")
        try:
            self._restore_beside(["migrations"], folder)
            made = int(self._rows("SELECT max(number) FROM archive_restored.migrations")[0][0])
            added = [name for name, migration in _ADDED.items() if migration <= made]
            self._restore_beside(added, folder)
            text = "SELECT submitted FROM archive{}.numbering"
            found, wanted = (
                {str(row[0]) for row in self._rows(text.format(name))} for name in ("_restored", "")
            )
            for numbering in wanted:
                reason = numbering_differs(found, numbering)
                if reason is not None:
                    raise ArchiveMismatch(reason)
            for name in added:
                settings = ", ".join(
                    f"{setting} = '{value}'" for setting, value in _as_new().items()
                )
                columns = ", ".join(self._columns_of("archive_restored", name))
                self.run(
                    f"INSERT INTO archive.{name} ({columns}) SELECT {columns} FROM "
                    f"archive_restored.{name} SETTINGS {settings}"
                )
            if "dropped" not in added:  # as migration 6 does
                self.run(
                    "INSERT INTO archive.dropped (before) "
                    "SELECT toYYYYMM(min(time)) FROM archive_restored.messages HAVING count() > 0"
                )
        finally:
            self.run("DROP DATABASE IF EXISTS archive_restored SYNC")

    def _columns_of(self, database: str, table: str) -> list[str]:
        """Those of an earlier migration may be fewer."""
        text = (
            "SELECT name FROM system.columns WHERE database = {database:String} AND "
            "table = {table:String} AND default_kind NOT IN ('MATERIALIZED', 'ALIAS') "
            "ORDER BY position"
        )
        return [row[0] for row in self._rows(text, {"database": database, "table": table})]

    def _restore_beside(self, names: Sequence[str], folder: str) -> None:
        tables = ", ".join(f"TABLE archive.{name} AS archive_restored.{name}" for name in names)
        self.run(f"RESTORE {tables} FROM File({_quoted(folder)})")

    def wipe(self) -> None:
        """Delete the whole archive."""
        self.run("DROP DATABASE IF EXISTS archive SYNC")

    # Counting and comparing

    def counts(self) -> tuple[int, int]:
        """(messages, rows). They differ by repeated rows that ClickHouse has not merged yet."""
        text = f"SELECT (SELECT count() FROM {TABLE} FINAL), (SELECT count() FROM {TABLE})"
        messages, rows = self._rows(text)[0]
        return int(messages), int(rows)

    def found(self, places: list[tuple[str, int]]) -> list[Row]:
        """What a reader sees at these (conversation, seq). More than one row for one of them is a
        fault."""
        names, seqs = zip(*places, strict=True)
        text = (
            f"SELECT {_COLUMNS} FROM {TABLE} FINAL WHERE (conversation, seq) IN "
            "arrayZip({names:Array(String)}, {seqs:Array(UInt64)}) SETTINGS "
            "do_not_merge_across_partitions_select_final = 1"
        )
        return [Row(*row) for row in self._rows(text, {"names": list(names), "seqs": list(seqs)})]

    def lacking(self, rows: list[CursorRow]) -> list[CursorRow]:
        """Those of the cursors that the archive lacks, whatever their times."""
        *columns, _ = zip(*rows, strict=True)
        text = (
            f"SELECT conversation, user, kind, up_to FROM {CURSORS} WHERE (conversation, user, "
            "kind, up_to) IN "
            "arrayZip({conversation:Array(String)}, {user:Array(String)}, {kind:Array(String)}, "
            "{up_to:Array(UInt64)})"
        )
        found = set(
            self._rows(
                text,
                {name: list(column) for name, column in zip(CURSOR_TYPES, columns, strict=False)},
            )
        )
        return [row for row in rows if row[:4] not in found]

    def insert(self, rows: list[Row]) -> None:
        """Insert messages, even if ClickHouse has seen the same block before. Repeats are
        harmless."""
        self._insert(TABLE, TYPES, rows)

    def insert_cursors(self, rows: list[CursorRow]) -> None:
        """Insert cursors likewise."""
        self._insert(CURSORS, CURSOR_TYPES, rows)

    def _insert(
        self, table: str, types: Mapping[str, str], rows: Sequence[tuple[Any, ...]]
    ) -> None:
        with self._errors():
            self._client.insert(
                table,
                list(zip(*rows, strict=True)),
                list(types),
                column_type_names=list(types.values()),
                column_oriented=True,
                settings=_as_new(),
            )

    def require_numbering(self, numbering: str) -> None:
        """Raises ArchiveMismatch unless the archive holds this numbering, or none yet."""
        found = {
            str(row[0]) for row in self._rows("SELECT DISTINCT submitted FROM archive.numbering")
        }
        reason = numbering_differs(found, numbering)
        if reason is not None:
            raise ArchiveMismatch(reason)
        if not found:
            self.run(
                "INSERT INTO archive.numbering (submitted) VALUES ({name:String})",
                {"name": numbering},
            )

    def holes(self) -> list[tuple[str, int, int, int]]:
        """(conversation, first seq, last seq, messages) of at most 1000 conversations that lack a
        number between first and last. The first is 1 unless retention has dropped older ones."""
        text = (
            f"SELECT m.conversation, min(m.seq), max(m.seq), count() FROM {TABLE} AS m FINAL GROUP "
            "BY m.conversation "
            "HAVING max(m.seq) - min(m.seq) + 1 != count() LIMIT 1000 "
            "SETTINGS do_not_merge_across_partitions_select_final = 1"
        )
        return [
            (str(name), int(first), int(last), int(count))
            for name, first, last, count in self._rows(text)
        ]

    def query(self, text: str, parameters: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        return self._rows(text, parameters)

    def _rows(self, text: str, parameters: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        with self._errors():
            return [tuple(row) for row in self._client.query(text, parameters).result_rows]

    def run(self, text: str, parameters: dict[str, Any] | None = None) -> None:
        """Run a statement that returns no rows."""
        with self._errors():
            self._client.command(text, parameters)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except FAILURES as error:
            raise translated(self.address, error) from None


def _as_new() -> dict[str, Any]:
    """Settings for an insert that ClickHouse must not skip although it has seen the same block
    before, because the rows were deleted since."""
    return {
        "async_insert": 0,
        "insert_deduplication_token": uuid.uuid4().hex,
        "max_partitions_per_insert_block": 0,
    }


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
