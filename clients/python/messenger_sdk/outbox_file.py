"""The sends of a device in a SQLite file: what was written while the network was away is sent after
a restart, once and in order."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from messenger_sdk.database import Database
from messenger_sdk.storage import (
    Added,
    Begun,
    Change,
    Finished,
    LaneChanged,
    Numbered,
    Owned,
    SavedSend,
    Stored,
)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS lanes (
    recipient TEXT PRIMARY KEY, outbox TEXT NOT NULL,
    next_ordinal INTEGER NOT NULL, round INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sends (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE, recipient TEXT NOT NULL, body TEXT NOT NULL,
    ordinal INTEGER NOT NULL -- 0 until it is first transmitted
);
CREATE TABLE IF NOT EXISTS changes ( -- sends that change a message
    key TEXT PRIMARY KEY, seq INTEGER NOT NULL
) WITHOUT ROWID;
"""


class OutboxFile:
    """`path` is made if it does not exist. Raises FolderInUse, FolderUnreadable. Close it."""

    def __init__(self, path: Path | str) -> None:
        self._database = Database(path, _SCHEMA, safe=True)

    def close(self) -> None:
        self._database.close()

    def load(self) -> Stored:
        """Whose it is, and what is unanswered."""
        execute = self._database.connection.execute
        lanes = execute("SELECT recipient, outbox, next_ordinal, round FROM lanes")
        sends = execute(
            "SELECT key, recipient, body, ordinal, ifnull(seq, 0) FROM sends "
            "LEFT JOIN changes USING (key) ORDER BY place"
        )
        return Stored(
            self._database.about("user"),
            self._database.about("outbox"),
            [LaneChanged(*row) for row in lanes],
            [SavedSend(*row) for row in sends],
        )

    def save(self, changes: Sequence[Change]) -> None:
        """Make changes outlive a power cut, all or none. It waits for the disk. Raises
        FolderUnreadable."""
        execute = self._database.connection.execute
        try:
            execute("BEGIN IMMEDIATE")
            for change in changes:
                if type(change) is Added:
                    execute(
                        "INSERT INTO sends (key, recipient, body, ordinal) VALUES (?, ?, ?, 0)",
                        change[:3],
                    )
                    if change.changes:
                        execute("INSERT INTO changes VALUES (?, ?)", (change.key, change.changes))
                elif type(change) is Numbered:
                    execute(
                        "UPDATE sends SET ordinal = ? WHERE key = ?", (change.ordinal, change.key)
                    )
                elif type(change) is Finished:
                    execute("DELETE FROM sends WHERE key = ?", change)
                    execute("DELETE FROM changes WHERE key = ?", change)
                elif type(change) is LaneChanged:
                    execute("INSERT OR REPLACE INTO lanes VALUES (?, ?, ?, ?)", change)
                elif type(change) is Owned:
                    execute("INSERT OR IGNORE INTO about VALUES ('user', ?)", change)
                elif type(change) is Begun:
                    execute("INSERT OR IGNORE INTO about VALUES ('outbox', ?)", change)
            execute("COMMIT")
        except sqlite3.Error as error:
            raise self._database.unreadable(error) from None
