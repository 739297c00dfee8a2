"""A SQLite file that one device of one process has open. One thread at a time may use it."""

import sqlite3
from pathlib import Path

from messenger_sdk.errors import FolderInUse, FolderUnreadable

_ABOUT = (
    "CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
)
_FORMAT = "1"


class Database:
    """`path` is made if it does not exist; `schema` makes the tables that are missing. `safe`: a
    change outlives a power cut (fsync), else a kill of the process only. Raises FolderInUse,
    FolderUnreadable. Close it.
    """

    def __init__(self, path: Path | str, schema: str, safe: bool) -> None:
        self._path = path
        self.connection = sqlite3.connect(
            path, isolation_level=None, timeout=0, check_same_thread=False
        )
        try:
            self.connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            self.connection.execute("PRAGMA journal_mode = WAL")
            self.connection.execute(f"PRAGMA synchronous = {'FULL' if safe else 'OFF'}")
            self.connection.executescript(_ABOUT + schema)
            self.connection.execute("INSERT OR IGNORE INTO about VALUES ('format', ?)", (_FORMAT,))
            format_ = self.about("format")
        except sqlite3.OperationalError as error:
            self.connection.close()
            raise FolderInUse(f"{path}: another process has it ({error})") from None
        except sqlite3.DatabaseError as error:
            self.connection.close()
            raise FolderUnreadable(f"{path}: {error}") from None
        if format_ != _FORMAT:
            self.connection.close()
            raise FolderUnreadable(
                f"{path}: format {format_} is not {_FORMAT}; a newer client wrote it"
            )

    def close(self) -> None:
        self.connection.close()

    def about(self, name: str) -> str:
        """A lasting value, empty if there is none."""
        row = self.connection.execute("SELECT value FROM about WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else ""

    def unreadable(self, error: sqlite3.Error) -> FolderUnreadable:
        """What an error of the disk means; what was begun is rolled back."""
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")
        return FolderUnreadable(f"{self._path}: {error}")
