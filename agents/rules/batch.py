"""Cutting a run of input records into batches. The records of a batch are folded, appended and
delivered together.

A cut lies between two input records (R1). A control record is a batch of its own (R7).
"""

import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol

from agents.rules.fold import DeadItem, FoldState, Outcome
from schemas.codec import Undecodable
from schemas.codes import Code
from schemas.events import CONTROLS, SCHEMA_VERSION, LogRecord
from schemas.submitted_codec import decode_submitted


class InputRecord(Protocol):
    """A record of `messages.submitted`, as any Kafka client gives it. `timestamp` is the broker's,
    in ms; a tombstone has no value."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def value(self) -> bytes | None: ...


class Batch(NamedTuple):
    """The fold of the input offsets first..last, and the state's time and version after it.
    `input_time` and `input_crc` are the broker's time and the CRC-32 of the last record."""

    first: int
    last: int
    time: int
    version: int
    input_time: int
    input_crc: int
    outcome: Outcome

    def log_record(self, delivered: int, partitions: int = 0) -> LogRecord:
        """The record to append for the batch; `delivered` is d of R5, and the log has so many
        `partitions`."""
        return LogRecord(
            SCHEMA_VERSION,
            self.version,
            self.first,
            self.last,
            self.time,
            delivered,
            self.input_time,
            self.input_crc,
            self.outcome.taken,
            partitions,
        )


def fold_records(
    state: FoldState,
    records: Iterable[InputRecord],
    skip: Callable[[int], bool] = lambda offset: False,
) -> Iterator[Batch]:
    """Fold records in order, and yield the batches they make. A record whose offset an operator
    lets `skip` is set aside as a whole, and its time does not count; but none that newer code has
    written.

    If folding a record raises (see FoldState.fold, and NewerVersion of the decoder), the batch of
    the records before it is yielded first. The state must not be used after that.
    """
    first, done, outcome = state.position + 1, None, Outcome([], [], [])
    for record in records:
        value = record.value or b""
        try:
            try:
                items = decode_submitted(value)
            except Undecodable as error:
                items = ()
                outcome.dead.append(DeadItem(record.offset, -1, error.code, value))
            control = bool(items) and type(items[0]) in CONTROLS
            if control and done is not None:
                yield _batch(first, done, outcome)
                first, done, outcome = state.position + 1, None, Outcome([], [], [])
            if skip(record.offset):
                state.require(record.offset, items)
                state.skip(record.offset, record.offset)
                if items:
                    outcome.dead.append(DeadItem(record.offset, -1, Code.SET_ASIDE, value))
            else:
                state.fold(record.offset, record.timestamp, items, outcome)
        except Exception:
            if done is not None:
                yield _batch(first, done, _before(record.offset, outcome))
            raise
        done = record, state.time, state.version
        if control:
            yield _batch(first, done, outcome)
            first, done, outcome = state.position + 1, None, Outcome([], [], [])
    if done is not None:
        yield _batch(first, done, outcome)


def fold_gap(state: FoldState, last: int) -> Batch:
    """The batch of records up to offset `last` that are gone, and that an operator has given up."""
    first = state.position + 1
    state.skip(first, last)
    return Batch(first, last, state.time, state.version, 0, 0, Outcome([], [], []))


def _batch(first: int, done: tuple[InputRecord, int, int], outcome: Outcome) -> Batch:
    last, time, version = done
    return Batch(
        first, last.offset, time, version, last.timestamp, zlib.crc32(last.value or b""), outcome
    )


def _before(offset: int, outcome: Outcome) -> Outcome:
    """An outcome without what the record at `offset` has added. Answers change no state, so they
    may stay."""
    taken = [item for item in outcome.taken if item.offset < offset]
    return Outcome(taken, outcome.answers, [item for item in outcome.dead if item.offset < offset])
