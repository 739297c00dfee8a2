"""The log folded into a partition's state: the one way the state changes, at recovery and while
running (R1, R2)."""

import zlib

from msgspec.structs import replace

from agents.rules.log import Verdict, judge, news
from connectors.kafka.record import Record
from schemas.codec import NewerVersion, Undecodable, decode_log
from schemas.events import LogRecord, Taken
from streams.tables.sequences import Header, SequenceTable


class Halt(Exception):
    """The partition must not go on: the text says why and what to do. Membership is kept, other
    partitions run (R7)."""


class LogApplier:
    """Takes log records in the order of their offsets; `write` brings them into the state,
    atomically."""

    def __init__(self, state: SequenceTable, header: Header) -> None:
        self._state = state
        self._records: list[tuple[int, list[Taken]]] = []
        self._changed = False
        self.unwritten = 0
        """Taken ordinals not yet in the state."""
        self.header = header
        """Where the fold stands; the state may be behind it until `write`."""

    def read(self, record: Record) -> LogRecord:
        """Take a record as read from Kafka and return it decoded. Raises Halt."""
        try:
            entry = decode_log(record.value)
        except NewerVersion as error:
            raise Halt(
                f"log record {record.offset}: {error}; deploy that version and restart"
            ) from None
        except Undecodable as error:
            raise Halt(f"log record {record.offset} cannot be read: {error}") from None
        self.take(record.offset, zlib.crc32(record.value), entry)
        return entry

    def take(self, offset: int, crc: int, entry: LogRecord) -> None:
        """Take the log record at `offset`, whose value has the CRC-32 `crc`."""
        header = self.header
        if offset != header.log_offset + 1:
            raise Halt(
                f"log record {offset} follows {header.log_offset}: the log has a gap of offsets"
            )
        if judge(header.position, entry) is Verdict.TAKE:
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

    def write(self, delivered: int, redeliver_from: int) -> None:
        """Write what was taken, and what is known of deliveries (see Header)."""
        if not self._changed and redeliver_from == self.header.redeliver_from:
            return
        self.header = replace(self.header, delivered=delivered, redeliver_from=redeliver_from)
        self._state.write(self._records, self.header)
        self._records = []
        self.unwritten = 0
        self._changed = False
