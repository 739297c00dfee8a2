"""The outbox on disk, in SQLite: what was written while the network was away is sent after a
restart, once and in order.

A change is safe when `save` returns (fsync), and a send is transmitted after that only: an ordinal
that has left the device belongs to its key for ever, whatever crashes. One process at a time.
"""

import sqlite3
from collections.abc import Iterable
from pathlib import Path

from messenger_sdk.database import Database
from messenger_sdk.outbox import Added, Change, Finished, LaneChanged, Numbered, Saved, SavedSend

_SCHEMA = """
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
    """`path` is made if it does not exist. Raises FolderInUse, FolderUnreadable. Close it."""

    def __init__(self, path: Path | str) -> None:
        self._database = Database(path, _SCHEMA, safe=True)

    def close(self) -> None:
        self._database.close()

    def user(self, user: str) -> str:
        """Whose outbox this is: `user`, if it was nobody's yet."""
        return self._database.about("user", user)

    def load(self, new_id: str) -> Saved:
        """What is unanswered. `new_id` becomes the outbox's id if it has none yet."""
        lanes = self._database.connection.execute(
            "SELECT recipient, outbox, next_ordinal, round FROM lanes"
        )
        sends = self._database.connection.execute(
            "SELECT key, recipient, body, ordinal FROM sends ORDER BY place"
        )
        return Saved(
            self._database.about("outbox", new_id),
            [LaneChanged(*row) for row in lanes],
            [SavedSend(*row) for row in sends],
        )

    def save(self, changes: Iterable[Change]) -> None:
        """Make changes safe, all or none. Raises FolderUnreadable if the disk does not take
        them."""
        execute = self._database.connection.execute
        try:
            execute("BEGIN IMMEDIATE")
            for change in changes:
                if type(change) is Added:
                    execute(
                        "INSERT INTO sends (key, recipient, body, ordinal) VALUES (?, ?, ?, 0)",
                        change,
                    )
                elif type(change) is Numbered:
                    execute(
                        "UPDATE sends SET ordinal = ? WHERE key = ?", (change.ordinal, change.key)
                    )
                elif type(change) is Finished:
                    execute("DELETE FROM sends WHERE key = ?", (change.key,))
                else:
                    execute("INSERT OR REPLACE INTO lanes VALUES (?, ?, ?, ?)", change)
            execute("COMMIT")
        except sqlite3.Error as error:
            raise self._database.unreadable(error) from None
