"""The outbox on disk, in SQLite: what was written while the network was away is sent after a restart, once and in order.

A change is safe when `save` returns (fsync), and a send is transmitted after that only: an ordinal that has left the device
belongs to its key for ever, whatever crashes. One process at a time.
"""

import sqlite3
from collections.abc import Iterable
from pathlib import Path

from messenger_sdk.errors import OutboxInUse, OutboxUnreadable
from messenger_sdk.outbox import Added, Change, Finished, LaneChanged, Numbered, Saved, SavedSend

_FORMAT = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS lanes (
    recipient TEXT PRIMARY KEY, outbox TEXT NOT NULL, next_ordinal INTEGER NOT NULL, round INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sends (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE, recipient TEXT NOT NULL, body TEXT NOT NULL,
    ordinal INTEGER NOT NULL -- 0 until it is first transmitted
);
"""


class OutboxFile:
    """`path` is made if it does not exist. Raises OutboxInUse, OutboxUnreadable. Close it."""

    def __init__(self, path: Path | str) -> None:
        self._path = path
        self._database = sqlite3.connect(path, isolation_level=None, timeout=0)
        try:
            self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.executescript(_SCHEMA)
            self._about("format", str(_FORMAT))
        except sqlite3.OperationalError as error:
            self._database.close()
            raise OutboxInUse(f"{path}: another process has it ({error})") from None
        except sqlite3.DatabaseError as error:
            self._database.close()
            raise OutboxUnreadable(f"{path}: {error}") from None
        if (format_ := self._about("format", "")) != str(_FORMAT):
            self._database.close()
            raise OutboxUnreadable(f"{path}: format {format_} is not {_FORMAT}; a newer client wrote it")

    def close(self) -> None:
        self._database.close()

    def user(self, user: str) -> str:
        """Whose outbox this is: `user`, if it was nobody's yet."""
        return self._about("user", user)

    def load(self, new_id: str) -> Saved:
        """What is unanswered. `new_id` becomes the outbox's id if it has none yet."""
        lanes = self._database.execute("SELECT recipient, outbox, next_ordinal, round FROM lanes")
        sends = self._database.execute("SELECT key, recipient, body, ordinal FROM sends ORDER BY place")
        return Saved(self._about("outbox", new_id), [LaneChanged(*row) for row in lanes], [SavedSend(*row) for row in sends])

    def save(self, changes: Iterable[Change]) -> None:
        """Make changes safe, all or none. Raises OutboxUnreadable if the disk does not take them."""
        execute = self._database.execute
        try:
            execute("BEGIN IMMEDIATE")
            for change in changes:
                if type(change) is Added:
                    execute("INSERT INTO sends (key, recipient, body, ordinal) VALUES (?, ?, ?, 0)", change)
                elif type(change) is Numbered:
                    execute("UPDATE sends SET ordinal = ? WHERE key = ?", (change.ordinal, change.key))
                elif type(change) is Finished:
                    execute("DELETE FROM sends WHERE key = ?", (change.key,))
                else:
                    execute("INSERT OR REPLACE INTO lanes VALUES (?, ?, ?, ?)", change)
            execute("COMMIT")
        except sqlite3.Error as error:
            if self._database.in_transaction:
                execute("ROLLBACK")
            raise OutboxUnreadable(f"{self._path}: {error}") from None

    def _about(self, name: str, value: str) -> str:
        """A lasting value, `value` if it has none yet."""
        if value:
            self._database.execute("INSERT OR IGNORE INTO about VALUES (?, ?)", (name, value))
        row = self._database.execute("SELECT value FROM about WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else ""
