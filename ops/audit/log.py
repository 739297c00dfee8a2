"""Judges a partition: the log must be the fold of the input, number for number, and deliveries and
counters must agree with it.

The caller reads the later parts of the pipeline first (counters, deliveries) and the input last.
So under load nothing looks missing that merely came in between.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from agents.rules.batch import Batch, InputRecord, fold_records
from agents.rules.fold import FoldState
from agents.rules.fold_view import InMemoryFoldView
from agents.rules.log import Verdict as Reading
from agents.rules.log import judge, news
from ops.audit.verdict import Verdict
from schemas.codec import decode_log, decode_server_frames
from schemas.events import AnswerDelivered, Delivered, LogRecord, MessageDelivered, Taken
from schemas.frames import Message, Sent

_BATCH = 500


class Numbered(NamedTuple):
    """The content of a (conversation, seq). `body` is a hash, None where the source has no body."""

    key: str
    time: int
    body: int | None


class CountersSeen(NamedTuple):
    """A worker's counters: the fold of log[0..log_offset]."""

    log_offset: int
    seqs: Mapping[str, int]


class PartitionJudge:
    """Judges one partition and adds deviations to `verdict`. Afterwards `numbered` holds every
    message of the input."""

    def __init__(self, partition: int, verdict: Verdict) -> None:
        self._partition = partition
        self._verdict = verdict
        self._known = InMemoryFoldView()
        self._state = FoldState(self._known)
        self.numbered: dict[tuple[str, int], Numbered] = {}
        self.waiting = False
        """The log goes on beyond a hole, which may still close (R2)."""
        self._seqs: dict[str, int] = {}
        self._ordinals: dict[tuple[str, str, bytes], int] = {}
        self._keys: set[int] = set()
        self._read = -1

    def log(
        self,
        inputs: Iterable[InputRecord],
        records: Iterable[InputRecord],
        counters: CountersSeen | None,
    ) -> None:
        """Compare the log's records, in order, with the fold of the input records."""
        rest = iter(inputs)
        position, furthest, log_offset = -1, -1, -1
        others: list[Taken] = []
        late = 0
        if counters is not None and counters.log_offset < 0:
            self._counters(counters)
        for record in records:
            entry = decode_log(record.value or b"")
            reading = judge(position, entry)
            fresh = news(position, entry) if reading is Reading.TAKE else []
            if len(fresh) < len(entry.taken):
                others += [
                    item
                    for item in entry.taken
                    if reading is not Reading.TAKE or item.offset <= position
                ]
            late += reading is not Reading.TAKE
            furthest = max(furthest, entry.to)
            if reading is Reading.TAKE:
                folded = self._fold(rest, entry.to)
                self._ends(record.offset, entry, folded[-1] if folded else None)
                expected = (item for batch in folded for item in batch.outcome.taken)
                for item in fresh:
                    self._compare(item, self._next(expected, item.offset))
                    self._follows(item)
                self._next(expected, entry.to + 1)
                position = entry.to
            if counters is not None and record.offset == counters.log_offset:
                self._counters(counters)
            log_offset = record.offset
        while self._fold(rest, self._state.position + _BATCH):
            pass
        for item in others:
            if item.seq:
                self._stands("in the log again", item.conversation, item.seq, _numbered(item))
        self.waiting = furthest > position
        if self.waiting:
            self._verdict.add(
                "lost-write",
                f"the log goes on to input {self._at(furthest)} without {self._at(position + 1)}",
            )
        if counters is not None and counters.log_offset > log_offset:
            self._verdict.add(
                "unseen",
                f"the worker has folded log {self._at(counters.log_offset)}, "
                f"it ends at {log_offset}",
            )
        self._verdict.figures["messages"] += len(self.numbered)
        self._verdict.figures["not yet in the log"] += max(0, self._state.position - position)
        self._verdict.figures["late appends"] += late

    def deliveries(self, events: Iterable[Delivered]) -> None:
        """Compare delivery events with the input's messages. Call it after `log`."""
        for event in events:
            if type(event) is MessageDelivered:
                self._verdict.figures["deliveries"] += 1
                self._delivered(event.conversation, event.seq, event.frame)
            elif isinstance(event, AnswerDelivered):
                for frame in decode_server_frames(event.frame):
                    if isinstance(frame, Sent):
                        self._delivered(frame.conversation, frame.seq, event.frame)

    def _fold(self, inputs: Iterator[InputRecord], to: int) -> list[Batch]:
        """Fold further, up to input offset `to` or to the end of the input."""
        batches = list(fold_records(self._state, self._until(inputs, to)))
        for batch in batches:
            self._known.take(batch.outcome.taken)
            for item in batch.outcome.taken:
                if item.seq:
                    self.numbered[item.conversation, item.seq] = _numbered(item)
        self._state.folded(self._state.position)
        return batches

    def _until(self, inputs: Iterator[InputRecord], to: int) -> Iterator[InputRecord]:
        while self._read < to and (record := next(inputs, None)) is not None:
            self._read = record.offset
            yield record

    def _ends(self, log_offset: int, entry: LogRecord, folded: Batch | None) -> None:
        """Compare the state that a log record states with the fold's."""
        if folded is None or folded.last < entry.to:
            self._verdict.add(
                "phantom", f"log record {self._at(log_offset)} covers input that does not exist"
            )
            return
        expected = folded.log_record(entry.delivered)
        for field in ("fold_version", "time", "input_time", "input_crc"):
            if getattr(entry, field) != getattr(expected, field):
                self._verdict.add(
                    "inconsistent-offsets", f"log record {self._at(log_offset)} has another {field}"
                )

    def _next(self, expected: Iterator[Taken], offset: int) -> Taken | None:
        """The next expected ordinal from input offset `offset` on. Those before it are missing in
        the log."""
        for item in expected:
            if item.offset >= offset:
                return item
            self._verdict.add(
                "lost-write", f"{_name(item)} of input {self._at(item.offset)} is not in the log"
            )
        return None

    def _follows(self, item: Taken) -> None:
        """Check what must hold independently of the fold, since the worker uses the same fold."""
        outbox = item.conversation, item.sender, item.outbox
        last = self._ordinals.get(outbox, 0)
        if item.ordinal not in (1, last + 1):
            self._verdict.add(
                "nonmonotonic-send",
                f"{_name(item)}: ordinal {item.ordinal} of its outbox after {last}",
            )
        self._ordinals[outbox] = item.ordinal
        if not item.seq:
            return
        seq = self._seqs.get(item.conversation, 0)
        if item.seq != seq + 1:
            self._verdict.add("poll-skip", f"{_name(item)} comes after {seq} in the log")
        self._seqs[item.conversation] = item.seq
        key = hash((item.conversation, item.sender, item.key))
        if key in self._keys:
            self._verdict.add(
                "duplicate", f"{_name(item)} has the key of an earlier message of its sender"
            )
        self._keys.add(key)

    def _compare(self, item: Taken, expected: Taken | None) -> None:
        if item == expected:
            return
        where = f"{_name(item)} at input {self._at(item.offset)}"
        if expected is None or item.offset < expected.offset:
            self._verdict.add("phantom", f"{where}: the input does not come to it")
        elif (item.conversation, item.seq) == (expected.conversation, expected.seq):
            self._verdict.add(
                "inconsistent-offsets",
                f"{where} is {_name(expected)} by the input, with other content",
            )
        else:
            self._verdict.add("poll-skip", f"{where} is {_name(expected)} by the input")

    def _counters(self, counters: CountersSeen) -> None:
        self._verdict.figures["counters"] += len(counters.seqs)
        for conversation in counters.seqs.keys() | self._seqs.keys():
            ours, theirs = self._seqs.get(conversation, 0), counters.seqs.get(conversation, 0)
            if ours != theirs:
                self._verdict.add(
                    "unseen", f"{conversation}: the worker counts {theirs}, the log {ours}"
                )

    def _delivered(self, conversation: str, seq: int, frame: bytes) -> None:
        for decoded in decode_server_frames(frame):
            if isinstance(decoded, Message):
                self._stands(
                    "delivered",
                    conversation,
                    seq,
                    Numbered(decoded.key, decoded.time, hash(decoded.body)),
                )
            elif isinstance(decoded, Sent):
                self._stands(
                    "answered", conversation, seq, Numbered(decoded.key, decoded.time, None)
                )

    def _stands(self, where: str, conversation: str, seq: int, found: Numbered) -> None:
        """Check that a message found elsewhere is the message of the input."""
        expected = self.numbered.get((conversation, seq))
        if expected is None:
            self._verdict.add(
                "phantom", f"{conversation}/{seq} is {where}; the input does not come to it"
            )
        elif found != (expected if found.body is not None else expected._replace(body=None)):
            self._verdict.add(
                "inconsistent-offsets", f"{conversation}/{seq} is {where} with other content"
            )

    def _at(self, offset: int) -> str:
        return f"{self._partition}/{offset}"


def _numbered(item: Taken) -> Numbered:
    return Numbered(item.key.hex(), item.time, hash(item.body))


def _name(item: Taken) -> str:
    return f"{item.conversation}/{item.seq}" if item.seq else f"a refusal in {item.conversation}"
