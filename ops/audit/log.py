"""Judges a partition: the log must be the fold of the input, number for number, and the counters of
the worker must be the fold of the log.

The fold here is the judge's own (ops/audit/fold.py). It goes as far as the log does, so after each
record it is what the log must have come to. The caller reads the log's end before the input's, so
under load nothing looks missing that merely came in between.
"""

import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice

from ops.audit.fold import Change
from ops.audit.items import ItemJudge
from ops.audit.partition_state import CannotJudge, CountersSeen, KafkaRecord, PartitionState
from ops.audit.recent import RecentMessages, content
from ops.audit.submitted import NewerRecord, skip_in
from ops.audit.verdict import Place, Verdict
from schemas.codec import NewerVersion, Undecodable, decode_log
from schemas.events import LogRecord, Taken
from schemas.ids import partition_of
from schemas.topics import LOG, SUBMITTED

_MAX_EARLY = 100_000


class PartitionJudge:
    """Judges one partition of `partitions`, from `state` on, and adds findings to `verdict`. The
    messages of the input go to `recent`, and to `logged`, when the log has come to them."""

    def __init__(
        self,
        partition: int,
        partitions: int,
        verdict: Verdict,
        recent: RecentMessages,
        state: PartitionState | None = None,
        logged: Callable[[Taken], None] | None = None,
    ) -> None:
        self.state = state or PartitionState()
        self._logged = logged
        self._partition = partition
        self._partitions = partitions
        self._verdict = verdict
        self._recent = recent
        self._items = ItemJudge(partition, verdict, recent)
        self._early: list[tuple[int, Taken]] = []
        """(log offset, ordinal) of records that come after a part that is missing."""
        self._judged: CountersSeen | None = None
        self._ahead: Callable[[int], Iterable[KafkaRecord]] = lambda offset: ()
        self._input_start = 0

    @property
    def waiting(self) -> bool:
        """Whether the log goes on beyond a hole, which may still close (R2)."""
        return self.state.furthest > self.state.position

    def last(self, conversation: str) -> int:
        """The last number of a conversation by the input, as far as the log goes."""
        return self.state.fold.numbers.get(conversation, 0)

    def read_on(
        self,
        inputs: Iterator[KafkaRecord],
        records: Iterable[KafkaRecord],
        counters: CountersSeen | None = None,
        ahead: Callable[[int], Iterable[KafkaRecord]] = lambda offset: (),
        input_start: int = 0,
    ) -> None:
        """Judge the log's next records. `inputs` are the input's, from the fold's position on, or
        from `input_start` if Kafka has not what is before: what the log says of that is taken on
        trust. `ahead` reads the input from an offset to its end, for what operators have decided.
        The counters are judged where the log comes to their offset. Raises CannotJudge."""
        self._ahead, self._input_start = ahead, input_start
        if counters is not None and counters.log_offset == self.state.log_end - 1:
            self._judge_counters(counters)
        for record in records:
            self._read(record, inputs)
            self.state.log_end = record.offset + 1
            if counters is not None and counters.log_offset == record.offset:
                self._judge_counters(counters)
        self._judge_early()

    def ends(self, counters: CountersSeen | None) -> None:
        """Call this when the log has been read to its end, and holes have had time to close."""
        if self.waiting:
            self._check_hole()
        if counters is not None and counters.log_offset >= self.state.log_end:
            self._check_ahead(counters)

    def _read(self, record: KafkaRecord, inputs: Iterator[KafkaRecord]) -> None:
        state = self.state
        try:
            entry = decode_log(record.value)
        except NewerVersion as error:
            raise CannotJudge(f"{self._place(LOG, record.offset)}: {error}") from None
        except Undecodable as error:
            self._check_readable(record.offset, error)
            return
        state.furthest = max(state.furthest, entry.to)
        if entry.to <= state.position:
            self._verdict.figures["late appends"] += 1
            for item in entry.taken:
                self._check_again(record.offset, item)
        elif entry.from_ > state.position + 1:
            self._early += [(record.offset, item) for item in entry.taken]
            del self._early[_MAX_EARLY:]
        else:
            for item in entry.taken:
                if item.offset <= state.position:
                    self._check_again(record.offset, item)
            self._take(record.offset, entry, inputs)

    def _take(self, offset: int, entry: LogRecord, inputs: Iterator[KafkaRecord]) -> None:
        fold = self.state.fold
        if fold.position + 1 < self._input_start:
            self._trust(entry)
            if fold.position == entry.to:
                return
        wanted = entry.to - fold.position
        sources = list(islice(inputs, max(0, wanted)))  # if Kafka fails now, nothing has changed
        last = sources[-1] if sources else None
        found = [item for item in entry.taken if item.offset > self.state.position]
        marks, changes = (fold.position, fold.time, fold.version, fold.set_aside), list[Change]()
        expected = self._fold(sources, changes)
        if (found != expected or entry.time != fold.time) and self._are_skipped(sources):
            fold.undo(changes, *marks)
            expected = self._fold(sources, [], self.state.skips)
        self._check_state(offset, entry, last)
        self.state.position = entry.to
        if found != expected:
            self._items.match(offset, found, expected)
        self._keep_numbers(found, expected)
        for item in expected:
            if item.seq == 1:
                self._check_partition(offset, item)
            self._know(item)

    def _know(self, item: Taken) -> None:
        """The log has come to what is taken to be right."""
        if item.seq:
            self._recent.add(item)
            if self._logged is not None:
                self._logged(item)
            self._verdict.figures["messages"] += 1

    def _trust(self, entry: LogRecord) -> None:
        """Take over what the record says of input that is gone."""
        fold, last = self.state.fold, min(entry.to, self._input_start - 1)
        items = [item for item in entry.taken if fold.position < item.offset <= last]
        time = entry.time if last == entry.to else max((item.time for item in items), default=0)
        fold.trust(last, time, entry.fold_version, items)
        self.state.position = last
        self._verdict.figures["taken on trust"] += sum(item.seq > 0 for item in items)
        for item in items:
            self._know(item)

    def _fold(
        self,
        sources: Iterable[KafkaRecord],
        changes: list[Change],
        skips: Collection[tuple[int, int]] = (),
    ) -> list[Taken]:
        """Fold these input records, without those that are skipped: what they take."""
        fold, taken = self.state.fold, list[Taken]()
        for record in sources:
            try:
                if any(first <= record.offset <= last for first, last in skips):
                    fold.skip(record.offset, record.value)
                    continue
                taken += fold.record(record.offset, record.timestamp, record.value, changes=changes)
            except NewerRecord as error:
                raise CannotJudge(f"{self._place(SUBMITTED, record.offset)}: {error}") from None
        return taken

    def _are_skipped(self, sources: Sequence[KafkaRecord]) -> bool:
        """Whether an operator has set one of these input records aside, by what comes after them.
        The input is looked through only if the log is not the plain fold: that is seldom."""
        state = self.state
        if not sources:
            return False
        for record in self._ahead(max(state.looked, sources[0].offset)):
            skip = skip_in(record.value)
            if skip is not None and skip.last < record.offset:
                state.skips.append((skip.first, skip.last))
            state.looked = record.offset + 1
        state.skips = [skip for skip in state.skips if skip[1] >= sources[0].offset]
        return any(
            first <= record.offset <= last for record in sources for first, last in state.skips
        )

    def _keep_numbers(self, found: list[Taken], expected: list[Taken]) -> None:
        """Remember which numbers the log has come to, where they are not the fold's."""
        if found == expected and not self.state.differ:
            return
        logged = {item.conversation: item.seq for item in found if item.seq}
        for conversation in {item.conversation for item in (*found, *expected)}:
            before = self.state.differ.pop(conversation, None)
            here = sum(1 for item in expected if item.seq and item.conversation == conversation)
            if before is None:
                before = self.last(conversation) - here
            number = logged.get(conversation, before)
            if number != self.last(conversation):
                self.state.differ[conversation] = number

    # Each check adds to the verdict what it finds, and nothing else depends on it.

    def _check_readable(self, offset: int, error: Undecodable) -> None:
        self._verdict.add("phantom", f"no log record: {error}", self._place(LOG, offset))

    def _check_hole(self) -> None:
        missing = self.state.position + 1
        self._verdict.add(
            "lost-write",
            f"the log goes on to input offset {self.state.furthest} without this one",
            self._place(SUBMITTED, missing),
        )

    def _check_ahead(self, counters: CountersSeen) -> None:
        self._verdict.add(
            "lost-write",
            f"a worker has folded the log up to here; it ends at {self.state.log_end}",
            self._place(LOG, counters.log_offset),
        )

    def _check_state(self, offset: int, entry: LogRecord, last: KafkaRecord | None) -> None:
        """The state after a record, as the record states it."""
        fold, place = self.state.fold, self._place(LOG, offset)
        if last is None or last.offset < entry.to:
            self._verdict.add("phantom", f"it covers input up to {entry.to}; there is none", place)
            return
        for name, said, true in (
            ("fold version", entry.fold_version, fold.version),
            ("log time", entry.time, fold.time),
            ("broker time of the input", entry.input_time, last.timestamp),
            ("CRC of the input", entry.input_crc, zlib.crc32(last.value)),
            ("number of partitions", entry.partitions or self._partitions, self._partitions),
        ):
            if said != true:
                self._verdict.add("inconsistent-offsets", f"it states another {name}", place)

    def _check_partition(self, offset: int, item: Taken) -> None:
        """A conversation that is sent to two partitions has two numberings."""
        true = partition_of(item.conversation, self._partitions)
        if true != self._partition:
            self._verdict.add(
                "inconsistent-offsets",
                f"its conversation belongs to partition {true}",
                self._place(LOG, offset, item),
            )

    def _check_again(self, offset: int, item: Taken) -> None:
        """An ordinal that stands in the log a second time."""
        if not item.seq:
            return
        true = self._recent.find(item.conversation, item.seq)
        place = self._place(LOG, offset, item)
        if true is None:
            if item.seq > self.last(item.conversation):
                self._verdict.add("phantom", "it is in the log again; the input lacks it", place)
            else:
                self._verdict.figures["too old to compare"] += 1
        elif true != content(item.key.hex(), item.time, item.sender, item.body):
            self._verdict.add(
                "inconsistent-offsets", "it is in the log again with other content", place
            )

    def _judge_early(self) -> None:
        """What stood beyond a hole that has closed."""
        position = self.state.position
        for offset, item in self._early:
            if item.offset <= position:
                self._check_again(offset, item)
        self._early = [(offset, item) for offset, item in self._early if item.offset > position]

    def _judge_counters(self, counters: CountersSeen) -> None:
        if counters is self._judged:  # the log has not gone on since
            return
        self._judged = counters
        self._verdict.figures["counters"] += len(counters.seqs)
        self._check_counters(counters)

    def _check_counters(self, counters: CountersSeen) -> None:
        """A worker's counters, at the log offset that they are of."""
        numbers, differ = self.state.fold.numbers, self.state.differ
        if counters.seqs == numbers and not differ:
            return
        for conversation in sorted(counters.seqs.keys() | numbers.keys() | differ.keys()):
            ours = differ.get(conversation, numbers.get(conversation, 0))
            theirs = counters.seqs.get(conversation, 0)
            if ours != theirs:
                self._verdict.add(
                    "unseen",
                    f"the worker's table counts {theirs}, the log {ours}",
                    Place("table of the sequencer", self._partition, -1, conversation, ours),
                )

    def _place(self, topic: str, offset: int, item: Taken | None = None) -> Place:
        if item is None:
            return Place(topic, self._partition, offset)
        return Place(topic, self._partition, offset, item.conversation, item.seq)
