"""RocksDB as workers use it: a database for each partition, and one memory budget over all of
them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import msgspec
import rocksdict

_MB = 1024 * 1024
_HEADER_KEY = b"h"


class DiskUnavailable(Exception):
    """The disk does not take what is written to it; the text is RocksDB's. Try again."""


class Disk(Protocol):
    """Where a process keeps its databases. `RocksBudget` is the real one, `MemoryDisk`
    (streams/tables/memory.py) its twin; databases and batches are rocksdict's, or look like
    them."""

    def open(self, folder: Path) -> Any:
        """The database in a folder, made if it is not there. Raises DiskUnavailable."""

    def destroy(self, folder: Path) -> None:
        """Delete a closed database."""

    def batch(self) -> Any:
        """A new batch of writes."""


class RocksBudget:
    """One block cache and one write-buffer budget over all partitions of a process, in bytes."""

    def __init__(self, cache: int = 256 * _MB, write_buffers: int = 64 * _MB) -> None:
        self._cache = rocksdict.Cache(cache)
        self._buffers = rocksdict.WriteBufferManager.new_write_buffer_manager_with_cache(
            write_buffers, False, self._cache
        )

    def open(self, folder: Path) -> Any:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            return rocksdict.Rdict(str(folder), options=self._options())
        except Exception as error:  # rocksdict has no class of its own
            raise DiskUnavailable(str(error)) from None

    def destroy(self, folder: Path) -> None:
        rocksdict.Rdict.destroy(str(folder))

    def batch(self) -> Any:
        return rocksdict.WriteBatch(raw_mode=True)

    def _options(self) -> Any:
        """Of one partition's database."""
        options = rocksdict.Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_write_buffer_manager(self._buffers)
        options.set_write_buffer_size(8 * _MB)
        options.set_max_write_buffer_number(2)
        options.set_max_open_files(64)
        options.set_keep_log_file_num(2)
        table = rocksdict.BlockBasedOptions()
        table.set_bloom_filter(10, False)
        table.set_block_cache(self._cache)
        table.set_cache_index_and_filter_blocks(True)
        options.set_block_based_table_factory(table)
        return options


Header = TypeVar("Header", bound=msgspec.Struct)


class Rocks(Generic[Header]):
    """One partition's fold of a topic; `header`, under the key b"h", says up to where. One owner;
    close it. Opening it raises DiskUnavailable.

    There is no write-ahead log of RocksDB's own: the topic is one. After a kill this is an earlier
    state, as whole, and the topic completes it; a clean close flushes.
    """

    def __init__(self, folder: Path, disk: Disk, header: type[Header]) -> None:
        self._folder = folder
        self._disk = disk
        self._db = disk.open(folder)
        self._unlogged = rocksdict.WriteOptions()
        self._unlogged.disable_wal = True
        raw = self._db.get(_HEADER_KEY)
        self.header: Header | None = (
            None if raw is None else msgspec.msgpack.decode(raw, type=header)
        )

    def close(self) -> None:
        """Blocks: it writes to the disk what is in memory only. What the disk does not take then,
        the topic has."""
        try:
            self._db.flush(True)
        finally:
            self._db.close()

    def wipe(self) -> None:
        """Close it and delete it: its topic is another, or says something else."""
        self._db.close()
        self._disk.destroy(self._folder)

    def _write(self, batch: Any, header: Header | None) -> None:
        """Write a batch, and maybe how far it brings this, atomically. Raises DiskUnavailable."""
        if header is not None:
            batch.put(_HEADER_KEY, msgspec.msgpack.encode(header))
        try:
            self._db.write(batch, self._unlogged)
        except Exception as error:  # rocksdict has no class of its own
            raise DiskUnavailable(str(error)) from None
        if header is not None:
            self.header = header

    def _suffixes(self, prefix: bytes) -> Iterator[bytes]:
        """What follows the prefix in the keys that begin with it, in order."""
        for key in self._db.keys(from_key=prefix):
            if not key.startswith(prefix):
                return
            yield key[len(prefix) :]
