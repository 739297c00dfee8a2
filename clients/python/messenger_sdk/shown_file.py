"""What was shown, on disk: after a restart the device goes on where it was, and what came meanwhile
is shown."""

import sqlite3
from collections.abc import Mapping
from pathlib import Path

from messenger_sdk.database import Database

_SCHEMA = """
CREATE TABLE IF NOT EXISTS shown (conversation TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS received (conversation TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS read (conversation TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
"""
_RAISE = "INSERT INTO shown VALUES (?, ?) ON CONFLICT DO UPDATE SET seq = max(seq, excluded.seq)"
_RECEIVE = (
    "INSERT INTO received VALUES (?, ?) ON CONFLICT DO UPDATE SET seq = max(seq, excluded.seq)"
)
_READ = "INSERT INTO read VALUES (?, ?) ON CONFLICT DO UPDATE SET seq = max(seq, excluded.seq)"


class ShownFile:
    """Raises FolderInUse, FolderUnreadable. Close it."""

    def __init__(self, path: Path | str) -> None:
        self._database = Database(path, _SCHEMA, safe=False)

    def close(self) -> None:
        self._database.close()

    def load(self) -> tuple[str, dict[str, int], dict[str, int], dict[str, int]]:
        """The id of the log, its cursors (conversation → last seq shown, or that counts as shown),
        and the last seq that was shown of the other user's, and that was read: one's own, and what
        `read` was told. Empty before `begin`."""
        log = self._database.about("log", "")
        if not log:
            return "", {}, {}, {}
        select = self._database.connection.execute
        shown, received, read = (
            dict(select(f"SELECT conversation, seq FROM {table}"))
            for table in ("shown", "received", "read")
        )
        return log, shown, received, read

    def begin(self, log: str, floors: Mapping[str, int]) -> None:
        """The device has begun: what is up to `floors` is history."""
        connection = self._database.connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(_RAISE, floors.items())
            connection.execute("INSERT OR REPLACE INTO about VALUES ('log', ?)", (log,))
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._database.unreadable(error) from None

    def forget(self) -> None:
        """Another log: nothing of it has been shown."""
        try:
            self._database.connection.executescript(
                "DELETE FROM shown; DELETE FROM received; DELETE FROM read; DELETE FROM about WHERE name = 'log';"
            )
        except sqlite3.Error as error:
            raise self._database.unreadable(error) from None

    def save(self, conversation: str, seq: int, received: bool) -> None:
        """A message has been shown; `received`: it is the other user's, else one's own."""
        try:
            self._database.connection.execute(_RAISE, (conversation, seq))
            self._database.connection.execute(_RECEIVE if received else _READ, (conversation, seq))
        except sqlite3.Error as error:
            raise self._database.unreadable(error) from None

    def read(self, conversation: str, seq: int) -> None:
        """The person has read all up to `seq`."""
        try:
            self._database.connection.execute(_READ, (conversation, seq))
        except sqlite3.Error as error:
            raise self._database.unreadable(error) from None
