"""The sequencer's table of one partition in RocksDB: the fold of `messages` up to a log offset,
never ahead of it (R1).

streams/tables/sequence_layout.py has its keys and values.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from struct import pack

import msgspec

from schemas.events import SnapshotConversation, SnapshotRow, Taken
from schemas.ids import members_of_valid
from streams.tables.rocks import Disk, Rocks
from streams.tables.sequence_layout import (
    ANSWER,
    ANSWER_ROWS,
    CHANGE,
    CHANGED,
    FORMAT,
    LAST,
    LAST_CHANGE,
    PLACE,
    RUN,
    SEQ,
    answer_rows,
    outbox_key,
)
from streams.tables.sequence_snapshots import snapshot_rows


class Header(msgspec.Struct, array_like=True, frozen=True):
    """Where the state stands.

    `log_offset` L is the last log record that is applied, `log_crc` its CRC-32. `position` r is the
    last folded input offset, with the broker's time (ms) and the CRC-32 of that record; `time` and
    `version` are the fold's after it. Everything up to input offset `delivered` had been delivered;
    the log has what follows from offset `redeliver_from` on. The topic ids are Kafka's.
    Everybody who has a conversation here was named in the `memberships` with the id `members_said`.
    The topics have so many `partitions` (0: an older version did not say it).
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
    members_said: str = ""
    partitions: int = 0


def table_folder(root: Path, partition: int) -> Path:
    """Where a partition's table is in the folder of its worker. Formats up to 5 have no name of
    their own."""
    return root / (f"partition-{partition}" + (f"-format-{FORMAT}" if FORMAT > 5 else ""))


class SequenceTable(Rocks[Header]):
    """`FoldView` (agents/rules/fold_view.py), and what gateways ask."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        super().__init__(folder, disk, Header)
        self._swept_below = 0
        self._sweep_at: bytes | None = None
        self._outboxes_swept = 0
        """Log time at the end of the last look at all outboxes."""
        self._outboxes_at: bytes | None = None

    def seq(self, conversation: str) -> int:
        return self.newest(conversation)[0]

    def newest(self, conversation: str) -> tuple[int, int]:
        """(last sequence number, its log time in ms), zeros if there is none."""
        raw = self._db.get(b"s" + conversation.encode())
        return (0, 0) if raw is None else LAST.unpack(raw)

    def last(self, outbox: tuple[str, str, bytes]) -> tuple[int, int] | None:
        """(ordinal, log time) of the last taken ordinal."""
        raw = self._db.get(b"o" + outbox_key(*outbox))
        return None if raw is None else LAST.unpack(raw)

    def answer(
        self, outbox: tuple[str, str, bytes], ordinal: int
    ) -> tuple[bytes, int, int, int] | None:
        """(key, seq, code, log time) of one of the last 64 taken ordinals."""
        prefix = b"a" + outbox_key(*outbox)
        found: tuple[bytes, int, int, int] | None = None
        for first in range(ordinal - ordinal % RUN, ordinal + 1):
            row = self._db.get(prefix + bytes((first % ANSWER_ROWS,)))
            at = SEQ.size + (ordinal - first) * ANSWER.size
            if row is not None and SEQ.unpack_from(row) == (first,) and at < len(row):
                answer = ANSWER.unpack_from(row, at)
                # An outbox that was forgotten begins again at 1: the later answer counts.
                if found is None or answer[3] > found[3]:
                    found = answer
        return found

    def places(self, conversation: str, after: int, limit: int) -> list[int]:
        """Offsets of the log records that hold messages after+1 .. after+limit of a conversation,
        in order."""
        prefix = b"m" + conversation.encode() + b"\0"
        offsets: list[int] = []
        start = prefix + SEQ.pack(after + 1)
        for key in self._db.keys(backwards=True, from_key=start):
            start = key if key.startswith(prefix) else start
            break
        for key, value in self._db.items(from_key=start):
            if not key.startswith(prefix):
                break
            for seq, offset in PLACE.iter_unpack(value):
                if seq > after + limit:
                    return offsets
                if seq <= after + 1:
                    offsets.clear()
                offsets.append(offset)
        return offsets

    def changes(self, conversation: str, first: int, last: int) -> dict[int, tuple[int, int]]:
        """(number, log offset) of the last change of each message first..last that was changed."""
        prefix = CHANGED + conversation.encode() + b"\0"
        found: dict[int, tuple[int, int]] = {}
        for key, value in self._db.items(from_key=prefix + SEQ.pack(first)):
            if not key.startswith(prefix) or (seq := SEQ.unpack(key[len(prefix) :])[0]) > last:
                break
            found[seq] = CHANGE.unpack(value)[1:]
        return found

    def last_change(self, conversation: str) -> int:
        """The number of a conversation's last change, 0 if the log holds none."""
        raw = self._db.get(LAST_CHANGE + conversation.encode())
        return 0 if raw is None else PLACE.unpack(raw)[0]

    def conversations(self, user: str, after: str, until: str) -> Iterator[str]:
        """A user's conversations after `after` up to `until` (all, if empty), in order."""
        prefix = b"u" + user.encode() + b"\0"
        for key in self._db.keys(from_key=prefix + after.encode()):
            conversation = key[len(prefix) :].decode()
            if not key.startswith(prefix) or (until and conversation > until):
                return
            if conversation > after:
                yield conversation

    def users(self) -> Iterator[str]:
        """Everybody who has a conversation."""
        last = b""
        for rest in self._suffixes(b"u"):
            user = rest.partition(b"\0")[0]
            if user != last:
                last = user
                yield user.decode()

    def sweep(self, log_start: int, rows: int) -> None:
        """Look at the next `rows` rows of the index, and delete those whose log records all lie
        below `log_start`. At the end of the index there is nothing to do until the log begins
        elsewhere. Raises DiskUnavailable.
        """
        if log_start == self._swept_below and self._sweep_at is None:
            return
        gone = self._disk.batch()
        at, self._sweep_at = self._sweep_at or b"m", None
        for key, value in self._db.items(from_key=at):
            if not key.startswith(b"m"):
                break
            if not rows:
                self._sweep_at = key
                break
            rows -= 1
            if PLACE.unpack(value[-PLACE.size :])[1] < log_start:
                gone.delete(key)
        if self._sweep_at is None:
            self._swept_below = log_start
        if len(gone):
            self._write(gone, None)

    def sweep_outboxes(self, silence: int, rows: int) -> None:
        """Look at the next `rows` outboxes, and delete those whose last ordinal was taken more than
        `silence` ms of log time ago, with their answers: to the fold they are as good as new
        (R1.6). All are looked at once in a ninetieth of that time. Raises DiskUnavailable."""
        header = self.header
        if header is None:
            return
        if self._outboxes_at is None and header.time < self._outboxes_swept + silence // 90:
            return
        gone = self._disk.batch()
        at, self._outboxes_at = self._outboxes_at or b"o", None
        for key, value in self._db.items(from_key=at):
            if not key.startswith(b"o"):
                break
            if not rows:
                self._outboxes_at = key
                break
            rows -= 1
            if header.time - LAST.unpack(value)[1] > silence:
                gone.delete(key)
                answers = b"a" + key[1:]
                for row in self._db.keys(from_key=answers):
                    if row[:-1] != answers:
                        break
                    gone.delete(row)
        if self._outboxes_at is None:
            self._outboxes_swept = header.time
        if len(gone):
            self._write(gone, None)

    def write(self, records: Iterable[tuple[int, Sequence[Taken]]], header: Header) -> None:
        """Bring log records, as (offset, taken ordinals), into the state and move it to `header`,
        atomically. Raises DiskUnavailable."""
        batch = self._disk.batch()
        put = batch.put
        newest: dict[str, Taken] = {}
        places: dict[str, list[int]] = {}
        outboxes: dict[tuple[str, str, bytes], list[Taken]] = {}
        changes: list[tuple[int, Taken]] = []
        for offset, taken in records:
            for item in taken:
                conversation, seq = item.conversation, item.seq
                if seq:
                    if item.changes is not None:
                        changes.append((offset, item))
                    newest[conversation] = item
                    run = places.get(conversation)
                    if run is None:
                        places[conversation] = [seq, offset]
                    elif run[-1] != offset:
                        run += (seq, offset)
                name = (conversation, item.sender, item.outbox)
                items = outboxes.get(name)
                if items is None:
                    outboxes[name] = [item]
                else:
                    items.append(item)
        for conversation, run in places.items():
            key = conversation.encode()
            put(b"s" + key, LAST.pack(newest[conversation].seq, newest[conversation].time))
            put(b"m" + key + b"\0" + SEQ.pack(run[0]), pack(f">{len(run)}Q", *run))
            if run[0] == 1:
                for user in members_of_valid(conversation):
                    put(b"u" + user.encode() + b"\0" + key, b"")
        for name, items in outboxes.items():
            outbox = outbox_key(*name)
            put(b"o" + outbox, LAST.pack(items[-1].ordinal, items[-1].time))
            for first, row in answer_rows(items):
                put(b"a" + outbox + bytes((first % ANSWER_ROWS,)), row)
        self._put_changes(changes, put)
        self._write(batch, header)

    def write_places(self, records: Iterable[tuple[int, Sequence[Taken]]]) -> None:
        """Keep where messages and changes are in the log, and nothing else of these records. Raises
        DiskUnavailable."""
        batch = self._disk.batch()
        changes: list[tuple[int, Taken]] = []
        for offset, taken in records:
            changes += ((offset, item) for item in taken if item.seq and item.changes is not None)
            runs = {item.conversation: item.seq for item in reversed(taken) if item.seq}
            for conversation, first in runs.items():
                key = b"m" + conversation.encode() + b"\0" + SEQ.pack(first)
                batch.put(key, PLACE.pack(first, offset))
        self._put_changes(changes, batch.put)
        self._write(batch, None)

    def _put_changes(
        self, changes: Iterable[tuple[int, Taken]], put: Callable[[bytes, bytes], None]
    ) -> None:
        """The rows of changes, as (log offset, change) in order. A deletion is final."""
        rows: dict[bytes, bytes] = {}
        for offset, item in changes:
            assert item.changes is not None
            conversation = item.conversation.encode()
            key = CHANGED + conversation + b"\0" + SEQ.pack(item.changes.seq)
            before = rows.get(key) or self._db.get(key)
            if before is None or not CHANGE.unpack(before)[0]:
                rows[key] = CHANGE.pack(not item.body, item.seq, offset)
            rows[LAST_CHANGE + conversation] = PLACE.pack(item.seq, offset)
        for key, row in rows.items():
            put(key, row)

    def counters(self) -> tuple[Header | None, Iterator[tuple[str, int]]]:
        """The header, and every conversation's last seq as of now, whatever is written while it is
        iterated."""
        # An iterator of RocksDB shows the database as it was when it was made; rocksdict's
        # snapshots do not hold for iterating.
        items = self._db.items(from_key=b"s")

        def entries() -> Iterator[tuple[str, int]]:
            for key, value in items:
                if not key.startswith(b"s"):
                    break
                yield key[1:].decode(), SEQ.unpack_from(value)[0]

        return self.header, entries()

    def rows(self) -> Generator[SnapshotRow]:
        """The whole state but the places, as of now, whatever is written while it is iterated:
        conversations, then outboxes. It holds files of RocksDB until it is closed."""
        # All iterators are made now; see `counters`.
        return snapshot_rows(*[self._db.items(from_key=prefix) for prefix in (b"s", b"o", b"a")])

    def load(self, rows: Iterable[SnapshotRow], header: Header | None = None) -> None:
        """Bring rows of a snapshot into a table that has no header. The header comes with the last
        of them: without it they are nobody's state. Raises DiskUnavailable."""
        batch = self._disk.batch()
        put = batch.put
        for row in rows:
            if isinstance(row, SnapshotConversation):
                key = row.conversation.encode()
                put(b"s" + key, LAST.pack(row.seq, row.time))
                for user in members_of_valid(row.conversation):
                    put(b"u" + user.encode() + b"\0" + key, b"")
            else:
                outbox = outbox_key(row.conversation, row.sender, row.outbox)
                put(b"o" + outbox, LAST.pack(row.ordinal, row.time))
                for first, answers in answer_rows(row.answers):
                    put(b"a" + outbox + bytes((first % ANSWER_ROWS,)), answers)
        self._write(batch, header)
