"""Reads what the judge needs of Kafka, and judges it: each partition's log against its input, then
the deliveries."""

import time
from collections.abc import Callable, Iterator, Mapping

import msgspec

from connectors.kafka.ports import OffsetGone, Reader
from connectors.kafka.record import Record
from ops.audit.claims import Claims
from ops.audit.deliveries import DeliveryJudge
from ops.audit.log import PartitionJudge
from ops.audit.pace import Pace
from ops.audit.partition_state import CannotJudge, CountersSeen, PartitionState
from ops.audit.recent import RecentMessages
from ops.audit.verdict import Place, Verdict
from schemas.events import Taken
from schemas.ids import partition_of
from schemas.topics import DELIVERIES, LOG, SUBMITTED

_MOST_MESSAGES = 20_000
"""Of one partition of the log at once; then comes the next partition."""
_KAFKA_SECONDS = 30.0


class TopicsState(msgspec.Struct):
    """How far Kafka has been judged. `deliveries`: slot → the next offset."""

    partitions: list[PartitionState]
    deliveries: dict[int, int] = msgspec.field(default_factory=dict)


class TopicsAudit:
    """Judges the partitions of `state`, and the deliveries of `slots` slots. Close it.

    `ask` asks the workers for counters: partition → counters, None if no worker answers. A hole in
    the log may close, and what was delivered may come into the log, for `patience` seconds: the
    owner appends again what is missing. `logged` gets each message that the log has come to.
    """

    def __init__(
        self,
        reader: Callable[[], Reader],
        slots: int,
        state: TopicsState,
        verdict: Verdict,
        pace: Pace,
        ask: Callable[[], dict[int, CountersSeen | None]],
        patience: float,
        logged: Callable[[Taken], None] | None = None,
    ) -> None:
        self.state = state
        self.recent = RecentMessages()
        self._ask = ask
        self._counters: dict[int, CountersSeen | None] | None = None
        self._slots = slots
        self._verdict = verdict
        self._pace = pace
        self._patience = patience
        self._judges = [
            PartitionJudge(number, len(state.partitions), verdict, self.recent, one, logged)
            for number, one in enumerate(state.partitions)
        ]
        self.claims = Claims(verdict, self.recent, self.last)
        """What is claimed beside Kafka is judged by the next `read_on` at the latest."""
        self._deliveries = DeliveryJudge(verdict, self.claims)
        self._inputs, self._records, self._decisions = reader(), reader(), reader()
        self._input_ends: dict[int, int] = {}
        self._told: set[Place] = set()
        """Tails and holes that were named: they stay, and count once."""

    def close(self) -> None:
        self._inputs.close()
        self._decisions.close()
        self._records.close()

    def last(self, conversation: str) -> int:
        """The last number of a conversation by the input, as far as the log goes."""
        return self._judge_of(conversation).last(conversation)

    def behind(self) -> int:
        """Input records that the log does not cover yet."""
        ends = self._input_ends
        return sum(
            max(0, end - 1 - self.state.partitions[number].position) for number, end in ends.items()
        )

    def read_on(self, with_counters: bool = True) -> bool:
        """Judge what has come since the last call; False if there is more. Raises CannotJudge,
        ReadTimeout."""
        if self._counters is None:
            self._counters = self._ask() if with_counters else {}
        slots = [(DELIVERIES, slot) for slot in range(self._slots)]
        ends = self._records.all_ends(slots, _KAFKA_SECONDS)
        if not self._read_logs(self._counters):
            return False
        counters, self._counters = self._counters, None
        self.claims.look_again()
        for (_, slot), end in ends.items():
            self._read_deliveries(slot, end)
        until = time.monotonic() + self._patience
        pause = 0.1
        while self._waits() and time.monotonic() < until:
            time.sleep(pause)
            pause = min(1.0, 2 * pause)
            self._read_logs({})
            self.claims.look_again()
        for number, judge in enumerate(self._judges):
            self._end(number, judge, counters.get(number))
        self.claims.ends(self._all_folded)
        return True

    def _waits(self) -> bool:
        if any(judge.waiting and not self._is_told(n) for n, judge in enumerate(self._judges)):
            return True
        return any(not self._all_folded(name) for name in self.claims.waiting)

    def _end(self, number: int, judge: PartitionJudge, counters: CountersSeen | None) -> None:
        if judge.waiting and not self._is_told(number):
            self._told.add(self._hole(number))
        elif judge.waiting:
            return
        judge.ends(counters)

    def _hole(self, number: int) -> Place:
        return Place(SUBMITTED, number, self.state.partitions[number].position + 1)

    def _is_told(self, number: int) -> bool:
        return self._hole(number) in self._told

    def _all_folded(self, conversation: str) -> bool:
        number = partition_of(conversation, len(self._judges))
        return self.state.partitions[number].position >= self._input_ends.get(number, 0) - 1

    def _judge_of(self, conversation: str) -> PartitionJudge:
        return self._judges[partition_of(conversation, len(self._judges))]

    def _read_logs(self, counters: Mapping[int, CountersSeen | None]) -> bool:
        numbers = range(len(self._judges))
        logs = self._records.all_watermarks(LOG, numbers, _KAFKA_SECONDS)
        inputs = self._inputs.all_watermarks(SUBMITTED, numbers, _KAFKA_SECONDS)
        self._input_ends = {number: end for number, (_, end) in inputs.items()}
        whole = True
        for number, judge in enumerate(self._judges):
            whole &= self._read_log(
                number, judge, logs[number], inputs[number], counters.get(number)
            )
        return whole

    def _read_log(
        self,
        number: int,
        judge: PartitionJudge,
        log: tuple[int, int],
        source: tuple[int, int],
        counters: CountersSeen | None,
    ) -> bool:
        """False if there is more."""
        state = judge.state
        self._check_tail(LOG, number, state.log_end, log[1])
        self._check_tail(SUBMITTED, number, state.fold.position + 1, source[1])
        if state.log_end < log[0]:
            raise CannotJudge(
                f"{LOG}/{number} begins at offset {log[0]}, and the judge has to go on from "
                f"{state.log_end}: begin with a newer checkpoint"
            )
        at = max(state.fold.position + 1, source[0])
        try:
            judge.read_on(
                self._read(self._inputs, SUBMITTED, number, at, source[1]),
                self._some(self._read(self._records, LOG, number, state.log_end, log[1])),
                counters,
                lambda offset: self._read(self._decisions, SUBMITTED, number, offset, source[1]),
                source[0],
            )
        except OffsetGone as error:
            raise CannotJudge(str(error)) from None
        return state.log_end >= log[1]

    def _check_tail(self, topic: str, number: int, judged: int, end: int) -> None:
        before = Place(topic, number, judged)
        if end < judged and before not in self._told:
            self._told.add(before)
            self._verdict.add(
                "lost-write",
                f"it ends here; it was judged up to offset {judged - 1}",
                Place(topic, number, end),
            )

    def _read_deliveries(self, slot: int, end: int) -> None:
        start, _ = self._records.watermarks(DELIVERIES, slot)
        start = max(start, self.state.deliveries.get(slot, 0))
        for record in self._read(self._records, DELIVERIES, slot, start, end):
            self._deliveries.read(slot, record)
        self.state.deliveries[slot] = max(start, end)

    def _some(self, records: Iterator[Record]) -> Iterator[Record]:
        before = self._verdict.figures["messages"]
        for record in records:
            yield record
            if self._verdict.figures["messages"] - before >= _MOST_MESSAGES:
                return

    def _read(
        self, reader: Reader, topic: str, partition: int, start: int, end: int
    ) -> Iterator[Record]:
        for batch in reader.batches(topic, partition, start, end):
            self._pace.count(len(batch))
            yield from batch
