"""RocksDB in memory: the databases of one machine's disk.

Like the real one it has no write-ahead log. After a kill a database is an earlier state, as whole;
a clean close keeps everything.
"""

import random
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from streams.tables.rocks import DiskUnavailable

_MAX_UNFLUSHED = 500
"""Writes in memory; then they are flushed."""

_Undo = list[tuple[bytes, bytes | None]]


class MemoryBatch:
    """`rocksdict.WriteBatch`."""

    def __init__(self) -> None:
        self.changes: list[tuple[bytes, bytes | None]] = []

    def put(self, key: bytes, value: bytes) -> None:
        self.changes.append((key, value))

    def delete(self, key: bytes) -> None:
        self.changes.append((key, None))

    def __len__(self) -> int:
        return len(self.changes)


class MemoryDatabase:
    """`rocksdict.Rdict` in raw mode, as far as the tables use it. An iterator shows the database as
    it was when it was made, as RocksDB's do."""

    def __init__(self, disk: "MemoryDisk") -> None:
        self._disk = disk
        self._values: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []
        self._lent = False
        """An iterator may be reading `_values` and `_keys`: they are copied before they change."""
        self._unflushed: list[_Undo] = []
        self.open = False

    def get(self, key: bytes) -> bytes | None:
        return self._values.get(key)

    def keys(self, backwards: bool = False, from_key: bytes = b"") -> Iterator[bytes]:
        """From the first key at or after `from_key`; backwards, from the last at or before it."""
        self._lent = True
        keys = self._keys
        if backwards:
            places = range(bisect_right(keys, from_key) - 1, -1, -1)
        else:
            places = range(bisect_left(keys, from_key), len(keys))
        return (keys[place] for place in places)

    def items(
        self, backwards: bool = False, from_key: bytes = b""
    ) -> Iterator[tuple[bytes, bytes]]:
        values = self._values
        return ((key, values[key]) for key in self.keys(backwards, from_key))

    def write(self, batch: MemoryBatch, options: Any = None) -> None:
        """All of it or nothing. Raises DiskUnavailable."""
        if self._disk.full:
            raise DiskUnavailable("the disk in memory is full")
        self._stop_lending()
        self._unflushed.append([(key, self._values.get(key)) for key, _ in batch.changes])
        for key, value in batch.changes:
            self._set(key, value)
        if len(self._unflushed) > _MAX_UNFLUSHED:
            self.flush()

    def flush(self, wait: bool = True) -> None:
        self._unflushed.clear()

    def close(self) -> None:
        self.open = False

    def crash(self, chance: random.Random) -> None:
        """The process was killed: some of the last writes are lost."""
        self._stop_lending()
        for _ in range(chance.randint(0, len(self._unflushed))):
            for key, value in reversed(self._unflushed.pop()):
                self._set(key, value)
        self._unflushed.clear()
        self.open = False

    def _stop_lending(self) -> None:
        if self._lent:
            self._values, self._keys = self._values.copy(), self._keys.copy()
            self._lent = False

    def _set(self, key: bytes, value: bytes | None) -> None:
        if value is None:
            if key in self._values:
                del self._values[key]
                del self._keys[bisect_left(self._keys, key)]
        else:
            if key not in self._values:
                insort(self._keys, key)
            self._values[key] = value


class MemoryDisk:
    """`Disk` (streams/tables/rocks.py). It outlives the processes that use it."""

    def __init__(self) -> None:
        self.full = False
        """Nothing can be written now."""
        self._databases: dict[Path, MemoryDatabase] = {}

    def open(self, folder: Path) -> MemoryDatabase:
        database = self._databases.setdefault(folder, MemoryDatabase(self))
        if database.open:
            raise DiskUnavailable(f"{folder} is open already")
        database.open = True
        return database

    def destroy(self, folder: Path) -> None:
        self._databases.pop(folder, None)

    def batch(self) -> MemoryBatch:
        return MemoryBatch()

    def crash(self, chance: random.Random) -> None:
        """The process that uses it was killed."""
        for database in self._databases.values():
            if database.open:
                database.crash(chance)

    def lose(self) -> None:
        """It is replaced by an empty one."""
        self._databases.clear()
