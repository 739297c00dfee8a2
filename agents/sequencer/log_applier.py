"""Applying the log to a partition's state: the one way the state changes, when it is restored and
while it runs (R1, R2)."""

import zlib

from msgspec.structs import replace

from agents.rules.fold import VERSIONS
from agents.rules.log import Verdict, judge, news
from connectors.kafka.record import Record
from schemas.codec import NewerVersion, Undecodable, decode_log
from schemas.events import LogRecord, Taken
from schemas.numbering import partitions_differ
from streams.partition import Halt
from streams.tables.sequences import Header, SequenceTable


class LogApplier:
    """Applies log records in the order of their offsets; `write` brings them into the table,
    atomically. Raises Halt if the table was written by a newer fold."""

    def __init__(self, table: SequenceTable, header: Header) -> None:
        _check_fold_version(header.version, f"the state at log offset {header.log_offset}")
        self._table = table
        self._records: list[tuple[int, list[Taken]]] = []
        self._changed = False
        self.unwritten = 0
        """Taken ordinals that are not in the table yet."""
        self.header = header
        """How far the log is applied; the table may be behind it until `write`."""

    def read(self, record: Record) -> LogRecord:
        """Apply a record as read from Kafka, and return it decoded. Raises Halt."""
        entry = decode_record(record)
        self.apply(record.offset, zlib.crc32(record.value), entry)
        return entry

    def apply(self, offset: int, crc: int, entry: LogRecord) -> None:
        """Apply the log record at `offset`, whose value has the CRC-32 `crc`. Raises Halt."""
        header = self.header
        if offset != header.log_offset + 1:
            raise Halt(
                f"log record {offset} follows {header.log_offset}: the log lacks offsets, and"
                " numbers may be missing; restore the topic, then restart"
            )
        if judge(header.position, entry) is Verdict.TAKE:
            _check_fold_version(entry.fold_version, f"log record {offset}")
            _check_partitions(entry.partitions, header.partitions, f"log record {offset}")
            taken = news(header.position, entry)
            self._records.append((offset, taken))
            self.unwritten += len(taken)
            self.header = replace(
                header,
                log_offset=offset,
                log_crc=crc,
                position=entry.to,
                input_time=entry.input_time,
                input_crc=entry.input_crc,
                time=max(header.time, entry.time),
                version=entry.fold_version,
            )
        else:
            self.header = replace(header, log_offset=offset, log_crc=crc)
        self._changed = True

    def members_said(self, topic: str) -> None:
        """All users of the table have been said in the `memberships` with this id."""
        self.header = replace(self.header, members_said=topic)
        self._changed = True

    def write(self, delivered: int, redeliver_from: int) -> None:
        """Write what was applied, and what is known of deliveries (see Header), into the table.
        Raises DiskUnavailable; then nothing has changed."""
        if not self._changed and redeliver_from == self.header.redeliver_from:
            return
        header = replace(self.header, delivered=delivered, redeliver_from=redeliver_from)
        self._table.write(self._records, header)
        self.header = header
        self._records = []
        self.unwritten = 0
        self._changed = False


def decode_record(record: Record) -> LogRecord:
    """Raises Halt."""
    try:
        return decode_log(record.value)
    except NewerVersion as error:
        raise Halt(
            f"log record {record.offset}: {error}; deploy that version and restart"
        ) from None
    except Undecodable as error:
        raise Halt(
            f"log record {record.offset} cannot be read: {error}; something else writes to"
            " this topic: stop it, and restore the topic"
        ) from None


def _check_partitions(kept: int, partitions: int, what: str) -> None:
    reason = partitions_differ(kept, partitions) if partitions else None
    if reason is not None:
        raise Halt(f"{what} {reason}")


def _check_fold_version(version: int, what: str) -> None:
    if version not in VERSIONS:
        raise Halt(
            f"{what} is of fold version {version}, and this code folds up to {max(VERSIONS)};"
            " deploy that version and restart"
        )
