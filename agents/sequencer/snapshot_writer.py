"""Writing snapshots of one partition beside its work (R8). The decisions are
agents/rules/snapshots.py.

Rows are read in small slices with pauses between them, and one chunk is under way at a time: so a
snapshot takes a tenth of the loop, some 1.5 MiB/s, and the memory of one chunk. Partitions of a
worker take turns.
"""

import asyncio
import contextlib
import logging
import zlib
from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple, Protocol

from agents.rules.position import FoundLog
from agents.rules.snapshots import (
    FoundSnapshot,
    alarm,
    deletable,
    is_due,
    not_whole,
    sealed,
)
from agents.sequencer.snapshot_store import SnapshotStore
from schemas.codec import encode_chunk, encode_event
from schemas.events import (
    SCHEMA_VERSION,
    ChunkPlace,
    SnapshotRecord,
    SnapshotRow,
)
from streams.retry import TROUBLE_OUTSIDE, Retry
from streams.tables.sequences import Header

log = logging.getLogger(__name__)


class SnapshotPolicy(NamedTuple):
    """`interval_ms`: how old the newest snapshot becomes before the next is written. A day: of the
    30 days that the log is kept, a restore reads one, and 29 tries may fail.

    `look_seconds`: how often to see whether one is due. A chunk has some `chunk_bytes`. After each
    `slice_bytes`, a millisecond of work, the writer pauses for `pause_seconds`.
    """

    interval_ms: int = 24 * 3600 * 1000
    look_seconds: float = 60.0
    chunk_bytes: int = 256 * 1024
    slice_bytes: int = 16 * 1024
    pause_seconds: float = 0.01


def policy_for(hours: float) -> SnapshotPolicy:
    """A policy with this interval."""
    usual, interval = SnapshotPolicy(), hours * 3600
    return usual._replace(
        interval_ms=int(interval * 1000), look_seconds=min(usual.look_seconds, interval / 4)
    )


class Exported(NamedTuple):
    """The state as it was at `header`. `rows` hold files of RocksDB until they are closed."""

    header: Header
    rows: Generator[SnapshotRow]


class SnapshotTurns(NamedTuple):
    """What the partitions of a worker share: its name, how many partitions the log has, and whose
    turn it is to write."""

    worker: str
    partitions: int
    lock: asyncio.Lock


class Owned(Protocol):
    """The partition; see agents/sequencer/partition.py."""

    @property
    def folded_log(self) -> FoundLog:
        """The log up to where the state has folded it."""

    def exported(self) -> Exported | None:
        """The state as of now; None if it cannot be had now."""


class _Written:
    """What of a snapshot is in Kafka, and the encoded rows that wait for the next chunk."""

    def __init__(self) -> None:
        self.rows = self.bytes = 0
        self.places: list[ChunkPlace] = []
        self.waiting: list[bytes] = []
        self.waiting_bytes = 0


class SnapshotFailed(Exception):
    """The snapshot that was asked for was not written; the text says why."""


Asked = list[asyncio.Future[SnapshotRecord]]


def _fail(asked: Asked, why: str) -> None:
    for one in asked:
        if not one.done():
            one.set_exception(SnapshotFailed(why))


class SnapshotWriter:
    """Of one partition, which is called `name`; `now` is the wall clock in ms."""

    def __init__(
        self,
        owned: Owned,
        name: str,
        store: SnapshotStore,
        policy: SnapshotPolicy,
        turns: SnapshotTurns,
        now: Callable[[], int],
    ) -> None:
        self._owned = owned
        self._name = name
        self._store = store
        self._policy = policy
        self._turns = turns
        self._now = now
        self._since = now()
        self._looked = False
        self._newest: SnapshotRecord | None = None
        self._failed = ""
        """Why the last try has failed."""
        self._rows: int | None = None
        """How many rows are in Kafka of the snapshot that is being written."""
        self._runs = False
        self._asked: Asked = []
        self._wake = asyncio.Event()

    async def run(self, retry: Retry) -> None:
        """Write snapshots when they are due or asked for, until cancelled."""
        self._runs = True
        try:
            await retry(self._look)
            while True:
                await self._write_if_due()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._policy.look_seconds):
                        await self._wake.wait()
        finally:
            self._runs = False
            _fail(self._asked, "the partition was released")

    async def write(self) -> SnapshotRecord:
        """Write one now, or after the one that is being written. Raises SnapshotFailed."""
        if not self._runs:
            raise SnapshotFailed("the partition does not run yet")
        asked: asyncio.Future[SnapshotRecord] = asyncio.get_running_loop().create_future()
        self._asked.append(asked)
        self._wake.set()
        return await asked

    @property
    def problem(self) -> str:
        """What an operator must know, or "" if there is nothing."""
        if self._failed:
            return f"its snapshot cannot be written: {self._failed}"
        if not self._looked:
            return ""
        log_, interval = self._owned.folded_log, self._policy.interval_ms
        return alarm(self._newest, log_, self._now(), self._since, interval) or ""

    def report(self) -> dict[str, Any]:
        newest = self._newest
        return {
            "log_offset": newest.log_offset if newest else None,
            "age_seconds": (self._now() - newest.written) // 1000 if newest else None,
            "rows": newest.rows if newest else None,
            "bytes": newest.bytes if newest else None,
            "writing_rows": self._rows,
            "problem": self.problem,
        }

    async def _look(self) -> Sequence[FoundSnapshot]:
        usable, _ = await self._store.find()
        self._newest = usable[0].record if usable else None
        self._looked = True
        return usable

    async def _write_if_due(self) -> None:
        self._wake.clear()
        log_, interval = self._owned.folded_log, self._policy.interval_ms
        asked, self._asked = self._asked, []
        if not asked and not is_due(self._newest, log_, self._now(), interval):
            return
        try:
            async with self._turns.lock:
                record = await self._write()
        except SnapshotFailed as error:
            self._fails(str(error), asked)
        except TROUBLE_OUTSIDE as error:
            self._fails(str(error) or type(error).__name__, asked)
        except Exception as error:  # the partition works without snapshots for a while
            log.exception("%s: writing a snapshot failed", self._name)
            self._fails(repr(error), asked)
        else:
            self._failed = ""
            for one in asked:
                if not one.done():
                    one.set_result(record)
        finally:
            self._rows = None
            _fail(asked, "the partition was released")

    def _fails(self, why: str, asked: Asked) -> None:
        log.error("%s: its snapshot cannot be written: %s", self._name, why)
        self._failed = why
        _fail(asked, why)

    async def _write(self) -> SnapshotRecord:
        """Write one, and delete what nobody needs after it. Raises SnapshotFailed, trouble
        outside."""
        begun = self._now()
        _, chunks = await self._store.find()
        exported = self._owned.exported()
        if exported is None:
            raise SnapshotFailed("the state cannot be had now")
        header = exported.header
        id_ = f"{self._turns.worker} {begun} {header.log_offset}"
        with contextlib.closing(exported.rows):
            written = await self._write_chunks(id_, exported.rows)
        record = sealed(
            SnapshotRecord(
                SCHEMA_VERSION,
                id_,
                begun,
                self._turns.partitions,
                header.log_topic,
                header.input_topic,
                header.log_offset,
                header.log_crc,
                header.position,
                header.input_time,
                header.input_crc,
                header.time,
                header.version,
                header.redeliver_from,
                header.delivered,
                header.members_said,
                written.rows,
                written.bytes,
                chunks.topic,
                chunks.end,
                written.places,
            )
        )
        # Another writer may have deleted chunks of this one, if it was paused for long.
        why = not_whole(record, (await self._store.find())[1])
        if why is not None:
            raise SnapshotFailed(why)
        await self._store.add(record)
        log.info("%s has written snapshot %s: %d rows", self._name, id_, written.rows)
        await self._delete_old(await self._look())
        return record

    async def _write_chunks(self, id_: str, rows: Generator[SnapshotRow]) -> _Written:
        written, sliced = _Written(), 0
        for row in rows:
            value = encode_event(row)
            written.waiting.append(value)
            written.waiting_bytes += len(value)
            sliced += len(value)
            if written.waiting_bytes >= self._policy.chunk_bytes:
                await self._add_chunk(id_, written)
            if sliced >= self._policy.slice_bytes:
                sliced = 0
                await asyncio.sleep(self._policy.pause_seconds)
        if written.waiting:
            await self._add_chunk(id_, written)
        return written

    async def _add_chunk(self, id_: str, written: _Written) -> None:
        value = encode_chunk(id_, len(written.places), written.waiting)
        written.rows += len(written.waiting)
        written.bytes += len(value)
        written.waiting, written.waiting_bytes = [], 0
        written.places.append(ChunkPlace(await self._store.add_chunk(value), zlib.crc32(value)))
        self._rows = written.rows

    async def _delete_old(self, usable: Sequence[FoundSnapshot]) -> None:
        """What is not deleted now is deleted after the next snapshot."""
        before = deletable(usable)
        try:
            if before is not None:
                await self._store.delete(before)
        except TROUBLE_OUTSIDE as error:
            log.warning("%s: old snapshots are not deleted: %s", self._name, error)
