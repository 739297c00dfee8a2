"""The sequencer's table of one partition in RocksDB: the fold of `messages` up to a log offset, never ahead of it (R1).

    b"h"                                        Header
    b"s" conversation                           last sequence number
    b"o" conversation \\0 sender \\0 outbox       last taken ordinal, its log time
    b"a" conversation \\0 sender \\0 outbox n     answer to the ordinal with ordinal mod 64 = n
    b"m" conversation \\0 seq                     places from seq on (R9): pairs of seq and the offset of the log record that
                                                brings it, and maybe some that follow it
    b"u" user \\0 conversation                    a conversation of the user that has a message

Answers stand one a key, so that a taken ordinal writes some 80 bytes and not a window of 64; the key is kept whole, no
hash. State and offset change in one WriteBatch.
"""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from struct import Struct
from typing import Any, NamedTuple

import msgspec
import rocksdict

from schemas.events import Taken
from schemas.frames import OUTBOX_WINDOW
from schemas.ids import members_of_valid

log = logging.getLogger(__name__)

FORMAT = 3
"""Of the keys above; a state of another format is folded again from the log."""

_MB = 1024 * 1024
_SEQ = Struct(">Q")
_LAST = Struct(">QQ")
_PLACE = Struct(">QQ")
_ANSWER = Struct(">Q16sQHQ")


class Header(msgspec.Struct, array_like=True, frozen=True):
    """Where the state stands.

    `log_offset` L is the last folded log record, `log_crc` its CRC-32; `position` r the last folded input offset, with
    broker time and CRC-32 of that record; `time` and `version` the fold's after it. Input offsets up to `delivered` had been
    delivered, and what comes after them is in the log from offset `redeliver_from` on. The topic ids are Kafka's.
    """

    log_topic: str
    input_topic: str
    log_offset: int = -1
    log_crc: int = 0
    position: int = -1
    input_time: int = 0
    input_crc: int = 0
    time: int = 0
    version: int = 1
    redeliver_from: int = 0
    delivered: int = -1
    format: int = 1


class Place(NamedTuple):
    """The log record at `offset` brings message `seq` of a conversation, and maybe some that follow it."""

    conversation: str
    seq: int
    offset: int


class RocksBudget:
    """One block cache and one write-buffer budget over all partitions of a process, in bytes."""

    def __init__(self, cache: int = 256 * _MB, write_buffers: int = 64 * _MB) -> None:
        self._cache = rocksdict.Cache(cache)
        self._buffers = rocksdict.WriteBufferManager.new_write_buffer_manager_with_cache(write_buffers, False, self._cache)

    def options(self) -> Any:
        """Options of one partition's database."""
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


class PartitionState:
    """`Known` (agents/rules/known.py) on RocksDB. One owner; close it."""

    def __init__(self, folder: Path, budget: RocksBudget) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._db = rocksdict.Rdict(str(folder), options=budget.options())
        # No write-ahead log of RocksDB's own: `messages` is one. After a kill the state is an earlier one, as whole, and the
        # log completes it; a clean close flushes.
        self._unlogged = rocksdict.WriteOptions()
        self._unlogged.disable_wal = True
        raw = self._db.get(b"h")
        self.header: Header | None = None if raw is None else msgspec.msgpack.decode(raw, type=Header)

    def close(self) -> None:
        self._db.flush(True)
        self._db.close()

    @staticmethod
    def destroy(folder: Path) -> None:
        """Delete a closed partition's state: its log says something else."""
        rocksdict.Rdict.destroy(str(folder))

    def seq(self, conversation: str) -> int:
        raw = self._db.get(b"s" + conversation.encode())
        return 0 if raw is None else _SEQ.unpack(raw)[0]

    def last(self, outbox: tuple[str, str, bytes]) -> tuple[int, int] | None:
        """(ordinal, log time) of the last taken ordinal."""
        raw = self._db.get(b"o" + _outbox_key(*outbox))
        return None if raw is None else _LAST.unpack(raw)

    def answer(self, outbox: tuple[str, str, bytes], ordinal: int) -> tuple[bytes, int, int, int] | None:
        """(key, seq, code, log time) of one of the last 64 taken ordinals."""
        raw = self._db.get(b"a" + _outbox_key(*outbox) + bytes((ordinal % OUTBOX_WINDOW,)))
        if raw is None:
            return None
        held, key, seq, code, time = _ANSWER.unpack(raw)
        return (key, seq, code, time) if held == ordinal else None

    def places(self, conversation: str, after: int, limit: int) -> list[int]:
        """Offsets of the log records that hold messages after+1 .. after+limit of a conversation, in order."""
        prefix = b"m" + conversation.encode() + b"\0"
        offsets: list[int] = []
        start = prefix + _SEQ.pack(after + 1)
        for key in self._db.keys(backwards=True, from_key=start):
            start = key if key.startswith(prefix) else start
            break
        for key, value in self._db.items(from_key=start):
            if not key.startswith(prefix):
                break
            for seq, offset in _PLACE.iter_unpack(value):
                if seq > after + limit:
                    return offsets
                if seq <= after + 1:
                    offsets.clear()
                offsets.append(offset)
        return offsets

    def conversations(self, user: str, after: str, until: str) -> Iterator[str]:
        """A user's conversations after `after` up to `until` (all, if empty), in order."""
        prefix = b"u" + user.encode() + b"\0"
        for key in self._db.keys(from_key=prefix + after.encode()):
            conversation = key[len(prefix) :].decode()
            if not key.startswith(prefix) or (until and conversation > until):
                return
            if conversation > after:
                yield conversation

    def write(self, taken: Iterable[Taken], places: Iterable[Place], header: Header) -> None:
        """Bring taken ordinals and where they stand into the state and move it to `header`, atomically."""
        batch = rocksdict.WriteBatch(raw_mode=True)
        put = batch.put
        seqs: dict[str, int] = {}
        lasts: dict[bytes, tuple[int, int]] = {}
        for item in taken:
            outbox = _outbox_key(item.conversation, item.sender, item.outbox)
            if item.seq:
                seqs[item.conversation] = item.seq
                if item.seq == 1:
                    for user in members_of_valid(item.conversation):
                        put(b"u" + user.encode() + b"\0" + item.conversation.encode(), b"")
            lasts[outbox] = item.ordinal, item.time
            put(
                b"a" + outbox + bytes((item.ordinal % OUTBOX_WINDOW,)),
                _ANSWER.pack(item.ordinal, item.key, item.seq, item.code, item.time),
            )
        for conversation, seq in seqs.items():
            put(b"s" + conversation.encode(), _SEQ.pack(seq))
        for outbox, last in lasts.items():
            put(b"o" + outbox, _LAST.pack(*last))
        rows: dict[str, list[Place]] = {}
        for place in places:
            rows.setdefault(place.conversation, []).append(place)
        for conversation, row in rows.items():
            value = b"".join([_PLACE.pack(seq, offset) for _, seq, offset in row])
            put(b"m" + conversation.encode() + b"\0" + _SEQ.pack(row[0].seq), value)
        put(b"h", msgspec.msgpack.encode(header))
        self._db.write(batch, self._unlogged)
        self.header = header

    def counters(self) -> tuple[Header | None, Iterator[tuple[str, int]]]:
        """The header and every conversation's last seq, as of now, whatever is written meanwhile."""
        header, snapshot = self.header, self._db.snapshot()

        def entries() -> Iterator[tuple[str, int]]:
            for key, value in snapshot.items(from_key=b"s"):
                if not key.startswith(b"s"):
                    break
                yield key[1:].decode(), _SEQ.unpack(value)[0]

        return header, entries()


def _outbox_key(conversation: str, sender: str, outbox: bytes) -> bytes:
    return f"{conversation}\0{sender}\0".encode() + outbox
