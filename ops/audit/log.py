"""Judging a partition: the log must be the fold of the input, number for number, and deliveries and counters must agree.

The caller reads what is later in the pipeline first (counters, deliveries) and the input last, so that under load nothing
is missed that merely came in between.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from agents.rules.batch import InputRecord, fold_records
from agents.rules.fold import FoldState
from agents.rules.known import Memory
from agents.rules.log import Verdict as Reading
from agents.rules.log import judge, news
from ops.audit.verdict import Verdict
from schemas.codec import decode_log, decode_server_frames
from schemas.events import AnswerDelivered, Delivered, MessageDelivered, Taken
from schemas.frames import Message, Sent

_BATCH = 500


class Numbered(NamedTuple):
    """What a (conversation, seq) holds; the body as a hash."""

    key: str
    time: int
    body: int


class CountersSeen(NamedTuple):
    """A worker's counters: the fold of log[0..log_offset]."""

    log_offset: int
    seqs: Mapping[str, int]


class PartitionJudge:
    """Judges one partition, adding to `verdict`. `numbered` holds every message of the input afterwards."""

    def __init__(self, partition: int, verdict: Verdict) -> None:
        self._partition = partition
        self._verdict = verdict
        self._known = Memory()
        self._state = FoldState(self._known)
        self.numbered: dict[tuple[str, int], Numbered] = {}

    def log(self, inputs: Iterable[InputRecord], records: Iterable[InputRecord], counters: CountersSeen | None) -> None:
        """Compare the log's records, in order, with the fold of the input."""
        expected = self._fold(inputs)
        position, log_time, ahead = -1, 0, 0
        seqs: dict[str, int] = {}
        for record in records:
            entry = decode_log(record.value or b"")
            reading = judge(position, entry)
            ahead += reading is Reading.AHEAD
            if reading is Reading.TAKE:
                for item in news(position, entry):
                    self._compare(item, next(expected, None))
                    if item.seq:
                        seqs[item.conversation] = item.seq
                if entry.time < log_time:
                    self._verdict.add("inconsistent-offsets", f"log time goes back at log record {self._at(record.offset)}")
                position, log_time = entry.to, entry.time
            if counters is not None and record.offset == counters.log_offset:
                self._counters(counters, seqs)
        for missing in expected:
            if missing.offset <= position:
                self._verdict.add("lost-write", f"{_name(missing)} of input {self._at(missing.offset)} is not in the log")
        self._verdict.figures["messages"] += len(self.numbered)
        self._verdict.figures["not yet in the log"] += max(0, self._state.position - position)
        self._verdict.figures["late appends, harmless"] += ahead

    def deliveries(self, events: Iterable[Delivered]) -> None:
        """Compare what went out to devices with the input's messages; call it after `log`."""
        for event in events:
            if type(event) is MessageDelivered:
                self._verdict.figures["deliveries"] += 1
                self._delivered(event.conversation, event.seq, event.frame)
            elif isinstance(event, AnswerDelivered):
                for frame in decode_server_frames(event.frame):
                    if isinstance(frame, Sent):
                        self._delivered(frame.conversation, frame.seq, event.frame)

    def _fold(self, inputs: Iterable[InputRecord]) -> Iterator[Taken]:
        """What the input comes to; everything is folded, also beyond what anybody asks for."""
        pending: list[InputRecord] = []
        for record in inputs:
            pending.append(record)
            if len(pending) == _BATCH:
                yield from self._folded(pending)
                pending = []
        yield from self._folded(pending)

    def _folded(self, records: list[InputRecord]) -> list[Taken]:
        taken = [item for batch in fold_records(self._state, records) for item in batch.outcome.taken]
        self._known.take(taken)
        self._state.folded(self._state.position)
        for item in taken:
            if item.seq:
                self.numbered[item.conversation, item.seq] = Numbered(item.key.hex(), item.time, hash(item.body))
        return taken

    def _compare(self, item: Taken, expected: Taken | None) -> None:
        if item == expected:
            return
        where = f"{_name(item)} at input {self._at(item.offset)}"
        if expected is None or item.offset < expected.offset:
            self._verdict.add("phantom", f"{where}: the input does not come to it")
        elif item.offset > expected.offset:
            self._verdict.add("lost-write", f"{_name(expected)} of input {self._at(expected.offset)} is not in the log")
        elif (item.conversation, item.seq) == (expected.conversation, expected.seq):
            self._verdict.add("inconsistent-offsets", f"{where} is {_name(expected)} by the input, with other content")
        else:
            self._verdict.add("poll-skip", f"{where} is {_name(expected)} by the input")

    def _counters(self, counters: CountersSeen, seqs: Mapping[str, int]) -> None:
        self._verdict.figures["counters"] += len(counters.seqs)
        for conversation in counters.seqs.keys() | seqs.keys():
            ours, theirs = seqs.get(conversation, 0), counters.seqs.get(conversation, 0)
            if ours != theirs:
                self._verdict.add("unseen", f"{conversation}: the worker counts {theirs}, the log {ours}")

    def _delivered(self, conversation: str, seq: int, frame: bytes) -> None:
        expected = self.numbered.get((conversation, seq))
        if expected is None:
            self._verdict.add("phantom", f"{conversation}/{seq} was delivered; the input does not come to it")
            return
        for decoded in decode_server_frames(frame):
            if isinstance(decoded, Message):
                found = Numbered(decoded.key, decoded.time, hash(decoded.body))
            elif isinstance(decoded, Sent):
                found = Numbered(decoded.key, decoded.time, expected.body)
            else:
                continue
            if found != expected:
                self._verdict.add("inconsistent-offsets", f"{conversation}/{seq} was delivered with other content")

    def _at(self, offset: int) -> str:
        return f"{self._partition}/{offset}"


def _name(item: Taken) -> str:
    return f"{item.conversation}/{item.seq}" if item.seq else f"a refusal in {item.conversation}"
