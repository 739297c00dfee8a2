"""One partition of the log, read for messages whose recipients have no device connected."""

import contextlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

from agents.route_lookups import RouteLookups
from agents.rules.log import Verdict, judge, news
from agents.rules.notifications import FIRST_START_MS, to_look_at
from connectors.kafka.ports import Kafka, Producer
from connectors.kafka.record import Record
from schemas.codec import MAX_SUBMITTED_BYTES, decode_log, encode_event, pack
from schemas.events import SCHEMA_VERSION, ReceiptRecord, Unreached
from schemas.topics import RECEIPTS
from streams.backlog import BacklogPartition, FactBacklog, Facts
from streams.inputs import InputSeen, offset_since, start_at
from streams.partition import PartitionRuntime
from streams.sending import send_all

GROUP = "notifier"
_TRIES_SECONDS = 10.0
_RECORD_HEAD = 64
"""Upper bound of what a record has beside its facts, in bytes."""


class NotifierIO(NamedTuple):
    """The ports of the stage. `text`: so many characters of a message go along."""

    kafka: Kafka
    producer: Producer
    lookups: RouteLookups
    text: int


class NotifierPartition(BacklogPartition[Unreached, Facts[Unreached]]):
    """It keeps nothing. The owner of the conversation's cursors, who is told of each message that
    found nobody, knows of which there is a notification already, and what has been read. So a
    message that is looked at again changes nothing."""

    def __init__(self, number: int, runtime: PartitionRuntime, io: NotifierIO) -> None:
        super().__init__(number, runtime, FactBacklog())
        self._io = io
        self._topic = ""
        """Kafka's id of the log."""
        self._position: int | None = None
        """r of R2; None before the first record."""

    async def restore(self) -> int:
        return await self.in_restores(self._restore)

    def _restore(self) -> int:
        """In a thread."""
        self._topic, self._position = self._io.kafka.topic_ids()[self.runtime.topic], None
        with contextlib.closing(self._io.kafka.reader(_TRIES_SECONDS, GROUP)) as reader:
            committed = reader.committed(self.runtime.topic, self.number)
            ends = reader.watermarks(self.runtime.topic, self.number)
            if committed is None:
                place = self.runtime.topic, self.number
                return offset_since(reader, place, ends, self.runtime.now() - FIRST_START_MS)
        return start_at(committed, *ends).offset

    def decode(self, record: Record) -> Sequence[Unreached]:
        entry = decode_log(record.value)
        if self._position is None:
            self._position = entry.from_ - 1
        if judge(self._position, entry) is not Verdict.TAKE:
            return []
        taken, self._position = news(self._position, entry), entry.to
        return to_look_at(taken, self.runtime.now(), self._io.text)

    async def apply(self, block: Facts[Unreached]) -> None:
        if not block.facts:
            return
        messages = [told.fact for told in block.facts]
        routes = await self._io.lookups.lookup(sorted({one.user for one in messages}))
        unreached = [one for one in messages if not routes.get(one.user)]
        self.figures["messages"] += len(messages)
        if unreached:
            await self._say(unreached)

    async def _say(self, unreached: Sequence[Unreached]) -> None:
        sizes = (len(encode_event(one)) for one in unreached)
        records = [
            (self.number, encode_event(ReceiptRecord(SCHEMA_VERSION, [*unreached[cut]])), None)
            for cut in pack(sizes, MAX_SUBMITTED_BYTES - _RECORD_HEAD)
        ]
        sent = send_all(self._io.producer, RECEIPTS, records)
        await self.retry.acknowledged(sent, f"records of {RECEIPTS}/{self.number}")
        self.figures["unreached"] += len(unreached)

    def input_is(self, seen: InputSeen, position: int) -> None:
        if seen.topic != self._topic or seen.end < position:
            self.runtime.restart(self.number, f"{self.runtime.topic} is another, or shorter")

    def detach(self) -> Callable[[], None] | None:
        return None
