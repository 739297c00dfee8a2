"""What an operator does with the archive: migrations, retention, backup. Blocking."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import clickhouse_connect

from connectors.clickhouse.archive import TABLE, TYPES, ArchiveMismatch, numbering_differs
from connectors.clickhouse.client import FAILURES, Address, translated
from schemas.archive import Migration, Row, migrations

_TIMEOUT = 6 * 3600.0
_ADDED = ("numbering", "daily_counts", "messages")
_COLUMNS = "conversation, seq, key, sender, device, body, toUnixTimestamp64Milli(time), version, log_partition, log_offset"


class ArchiveNewer(Exception):
    """The archive was migrated by newer code than this."""


class Month(NamedTuple):
    """One partition of `archive.messages`: `name` is YYYYMM; rows and bytes as they lie on disk, repeats included."""

    name: str
    rows: int
    bytes: int


class ArchiveAdmin:
    """As user `admin`. Methods raise ArchiveUnavailable, ArchiveRefused. Close it."""

    def __init__(self, url: str) -> None:
        self.address = Address.parse(url)
        with self._errors():
            self._client = clickhouse_connect.get_client(**self.address.options(_TIMEOUT), form_encode_query_params=True)

    def close(self) -> None:
        self._client.close()

    # Migrations

    def applied(self) -> int:
        """The number of the last migration that was applied, 0 before the first."""
        exists = self._rows("SELECT count() FROM system.tables WHERE database = 'archive' AND name = 'migrations'")[0][0]
        return int(self._rows("SELECT max(number) FROM archive.migrations")[0][0]) if exists else 0

    def migrate(self, say: Callable[[Migration], None]) -> None:
        """Apply what is missing, in order; `say` is called before each. Two may do so at once: every statement may be
        repeated. Raises ArchiveNewer."""
        known = migrations()
        applied = self.applied()
        if applied > known[-1].number:
            raise ArchiveNewer(
                f"the archive is of migration {applied}, this code knows {known[-1].number}: run the newer code's migrate"
            )
        self.run("CREATE DATABASE IF NOT EXISTS archive ENGINE = Atomic")
        self.run(
            "CREATE TABLE IF NOT EXISTS archive.migrations (number UInt16, name String, applied DateTime DEFAULT now()) "
            "ENGINE = ReplacingMergeTree ORDER BY number"
        )
        for migration in known[applied:]:
            say(migration)
            for statement in migration.statements:
                self.run(statement)
            self.run(
                "INSERT INTO archive.migrations (number, name) VALUES ({number:UInt16}, {name:String})",
                {"number": migration.number, "name": migration.name},
            )

    # Retention

    def months(self) -> list[Month]:
        """The partitions of the archive, oldest first."""
        text = (
            "SELECT partition, sum(rows), sum(bytes_on_disk) FROM system.parts "
            "WHERE database = 'archive' AND table = 'messages' AND active GROUP BY partition ORDER BY partition"
        )
        return [Month(*row) for row in self._rows(text)]

    def drop(self, month: str) -> None:
        """Delete a month's messages for good."""
        self.run(f"ALTER TABLE archive.messages DROP PARTITION {int(month)}")

    def forget_conversations(self, before: str) -> None:
        """Forget conversations in which nothing was written since month `before` (YYYYMM) began."""
        self.run(
            "ALTER TABLE archive.user_conversations DELETE WHERE (user, conversation) IN ("
            "SELECT user, conversation FROM archive.user_conversations GROUP BY user, conversation "
            "HAVING toYYYYMM(max(time)) < {month:UInt32}) SETTINGS mutations_sync = 1",
            {"month": int(before)},
        )

    # Backup

    def backup(self, folder: str) -> None:
        """The whole database into `folder`, which the server must be allowed to write and must not hold anything yet."""
        self.run(f"BACKUP DATABASE archive TO File({_quoted(folder)})")

    def restore(self, folder: str) -> None:
        """The whole database as it was backed up in `folder`, in place of none."""
        self.run(f"RESTORE DATABASE archive FROM File({_quoted(folder)})")

    def add_from(self, folder: str) -> None:
        """Bring the messages and counts backed up in `folder` into the archive; what it has already stays as it is. Raises
        ArchiveMismatch."""
        tables = ", ".join(f"TABLE archive.{name} AS archive_restored.{name}" for name in _ADDED)
        self.run("DROP DATABASE IF EXISTS archive_restored SYNC")
        self.run("CREATE DATABASE archive_restored ENGINE = Atomic")
        try:
            self.run(f"RESTORE {tables} FROM File({_quoted(folder)})")
            text = "SELECT submitted FROM archive{}.numbering"
            found, wanted = ({str(row[0]) for row in self._rows(text.format(name))} for name in ("_restored", ""))
            for numbering in wanted:
                reason = numbering_differs(found, numbering)
                if reason is not None:
                    raise ArchiveMismatch(reason)
            for name in _ADDED:
                settings = ", ".join(f"{setting} = '{value}'" for setting, value in _as_new().items())
                self.run(f"INSERT INTO archive.{name} SELECT * FROM archive_restored.{name} SETTINGS {settings}")
        finally:
            self.run("DROP DATABASE IF EXISTS archive_restored SYNC")

    def wipe(self) -> None:
        """Delete the whole archive."""
        self.run("DROP DATABASE IF EXISTS archive SYNC")

    # Counting and comparing

    def counts(self) -> tuple[int, int]:
        """(messages, rows): they differ by repeats that are not merged away yet."""
        text = f"SELECT (SELECT count() FROM {TABLE} FINAL), (SELECT count() FROM {TABLE})"
        messages, rows = self._rows(text)[0]
        return int(messages), int(rows)

    def found(self, places: list[tuple[str, int]]) -> list[Row]:
        """What a reader sees at these (conversation, seq); more than one row for a place is a fault."""
        names, seqs = zip(*places, strict=True)
        text = (
            f"SELECT {_COLUMNS} FROM {TABLE} FINAL WHERE (conversation, seq) IN "
            "arrayZip({names:Array(String)}, {seqs:Array(UInt64)}) SETTINGS do_not_merge_across_partitions_select_final = 1"
        )
        return [Row(*row) for row in self._rows(text, {"names": list(names), "seqs": list(seqs)})]

    def insert(self, rows: list[Row]) -> None:
        """Bring rows in, also such as ClickHouse has seen before; repeats are harmless."""
        with self._errors():
            self._client.insert(
                TABLE,
                list(zip(*rows, strict=True)),
                list(TYPES),
                column_type_names=list(TYPES.values()),
                column_oriented=True,
                settings=_as_new(),
            )

    def require_numbering(self, numbering: str) -> None:
        """Raises ArchiveMismatch unless the archive holds this numbering, or none yet."""
        found = {str(row[0]) for row in self._rows("SELECT DISTINCT submitted FROM archive.numbering")}
        reason = numbering_differs(found, numbering)
        if reason is not None:
            raise ArchiveMismatch(reason)
        if not found:
            self.run("INSERT INTO archive.numbering (submitted) VALUES ({name:String})", {"name": numbering})

    def holes(self) -> list[tuple[str, int, int, int]]:
        """(conversation, first seq, last seq, messages) of those in which a number between first and last is missing, at most
        1000. The first is 1 unless retention has dropped what was before."""
        text = (
            f"SELECT m.conversation, min(m.seq), max(m.seq), count() FROM {TABLE} AS m FINAL GROUP BY m.conversation "
            "HAVING max(m.seq) - min(m.seq) + 1 != count() LIMIT 1000 "
            "SETTINGS do_not_merge_across_partitions_select_final = 1"
        )
        return [(str(name), int(first), int(last), int(count)) for name, first, last, count in self._rows(text)]

    def query(self, text: str) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        return self._rows(text)

    def _rows(self, text: str, parameters: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        with self._errors():
            return [tuple(row) for row in self._client.query(text, parameters).result_rows]

    def run(self, text: str, parameters: dict[str, Any] | None = None) -> None:
        """A statement that answers nothing."""
        with self._errors():
            self._client.command(text, parameters)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except FAILURES as error:
            raise translated(self.address, error) from None


def _as_new() -> dict[str, Any]:
    """Settings of an insert that ClickHouse must take though it has seen the very block before: one that was deleted since."""
    return {"async_insert": 0, "insert_deduplication_token": uuid.uuid4().hex, "max_partitions_per_insert_block": 0}


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
