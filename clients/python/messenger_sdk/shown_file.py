"""What a device has shown, in a SQLite file: after a restart it goes on where it was, and shows
what came meanwhile."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from messenger_sdk.database import Database
from messenger_sdk.storage import LogBegun, LogMet, Note, ShownUpTo, Stored

_TABLES = "shown", "received", "read"
_SCHEMA = "".join(
    f"CREATE TABLE IF NOT EXISTS {table} (conversation TEXT PRIMARY KEY, seq INTEGER NOT NULL) "
    "WITHOUT ROWID;"
    for table in _TABLES
)
_SHOW, _RECEIVE, _READ = (
    f"INSERT INTO {table} VALUES (?, ?) ON CONFLICT DO UPDATE SET seq = max(seq, excluded.seq)"
    for table in _TABLES
)
# An older client reads `log` alone: to it, a device without its first heads is new.
_BEGIN = "INSERT OR REPLACE INTO about SELECT 'log', value FROM about WHERE name = 'met'"


class ShownFile:
    """Raises FolderInUse, FolderUnreadable. Close it."""

    def __init__(self, path: Path | str) -> None:
        self._database = Database(path, _SCHEMA, safe=False)

    def close(self) -> None:
        self._database.close()

    def load(self, stored: Stored) -> Stored:
        """`stored` with what was shown; unchanged before the first LogMet."""
        begun = self._database.about("log")
        log = begun or self._database.about("met")
        if not log:
            return stored
        select = self._database.connection.execute
        shown, received, read = (
            dict(select(f"SELECT conversation, seq FROM {table}")) for table in _TABLES
        )
        return stored._replace(
            log=log, shown=shown, received=received, read=read, begun=bool(begun)
        )

    def note(self, notes: Sequence[Note]) -> None:
        """Make notes outlive the process, all or none. It does not wait for the disk. Raises
        FolderUnreadable."""
        execute = self._database.connection.execute
        try:
            execute("BEGIN IMMEDIATE")
            for note in notes:
                if type(note) is LogBegun:
                    self._database.connection.executemany(_SHOW, note.floors.items())
                    execute(_BEGIN)
                elif type(note) is LogMet:
                    for table in _TABLES:
                        execute(f"DELETE FROM {table}")
                    execute("DELETE FROM about WHERE name = 'log'")
                    execute("INSERT OR REPLACE INTO about VALUES ('met', ?)", note)
                elif type(note) is ShownUpTo:
                    execute(_SHOW, (note.conversation, note.seq))
                    execute(_READ if note.own else _RECEIVE, (note.conversation, note.seq))
                else:
                    execute(_READ, note)
            execute("COMMIT")
        except sqlite3.Error as error:
            raise self._database.unreadable(error) from None
