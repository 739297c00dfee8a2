"""One partition of `notifications`, told to an endpoint by signed calls."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from agents.rules.notifications import FIRST_START_MS
from agents.rules.webhook import body_of, headers_of, id_of
from connectors.kafka.ports import Kafka, Producer
from connectors.kafka.record import Record
from connectors.webhook import EndpointFailed
from schemas.codec import decode_notification, encode_event
from schemas.codes import Code
from schemas.events import SCHEMA_VERSION, DeadLetter, Notification, NotificationRecord
from schemas.topics import DEAD_LETTERS
from streams.backlog import BacklogPartition, FactBacklog, Facts, Told
from streams.inputs import InputSeen, offset_since, start_at
from streams.partition import PartitionRuntime

log = logging.getLogger(__name__)

GROUP = "webhook"
_READ_SECONDS = 10.0


class WebhookIO(NamedTuple):
    """The ports of the stage. `call(body, headers)` makes one try, and raises EndpointFailed.
    `keys` sign. `waits` (s) come between two tries, each shortened by up to a half by `random` (0
    up to 1). `turns`: so many calls are under way at once, of all partitions together."""

    kafka: Kafka
    producer: Producer
    call: Callable[[bytes, dict[str, str]], Awaitable[None]]
    keys: Sequence[bytes]
    waits: Sequence[float]
    random: Callable[[], float]
    turns: asyncio.Semaphore


class WebhookPartition(BacklogPartition[Notification, Facts[Notification]]):
    """Notifications of one conversation are told in order, one after the other; those of several
    beside each other. What the endpoint does not take after the last try is a dead letter. While it
    takes nothing, the rest waits in Kafka."""

    def __init__(self, number: int, runtime: PartitionRuntime, io: WebhookIO) -> None:
        super().__init__(number, runtime, FactBacklog())
        self._io = io
        self._topic = ""
        """Kafka's id of the input."""

    @property
    def owes(self) -> bool:
        """A call has a time limit of its own, and may wait for its turn longer than a watchdog."""
        return False

    async def restore(self) -> int:
        return await self.in_restores(self._restore)

    def _restore(self) -> int:
        """In a thread."""
        self._topic = self._io.kafka.topic_ids()[self.runtime.topic]
        with contextlib.closing(self._io.kafka.reader(_READ_SECONDS, GROUP)) as reader:
            committed = reader.committed(self.runtime.topic, self.number)
            ends = reader.watermarks(self.runtime.topic, self.number)
            if committed is None:
                place = self.runtime.topic, self.number
                return offset_since(reader, place, ends, self.runtime.now() - FIRST_START_MS)
            return start_at(committed, *ends).offset

    def decode(self, record: Record) -> Sequence[Notification]:
        return [decode_notification(record.value).notification]

    async def apply(self, block: Facts[Notification]) -> None:
        by_conversation: dict[str, list[Told[Notification]]] = {}
        for told in block.facts:
            by_conversation.setdefault(told.fact.conversation, []).append(told)
        async with asyncio.TaskGroup() as group:
            for some in by_conversation.values():
                group.create_task(self._tell_all(some))

    async def _tell_all(self, some: Sequence[Told[Notification]]) -> None:
        for told in some:
            async with self._io.turns:
                taken = await self._tell(told)
            if not taken:
                await self._set_aside(told)

    async def _tell(self, told: Told[Notification]) -> bool:
        """Whether the endpoint has taken it, at some try."""
        id_, body = id_of(told.fact), body_of(told.fact, told.time)
        for wait in (*self._io.waits, None):
            try:
                await self._io.call(body, headers_of(id_, body, self._io.keys, self.runtime.now()))
            except EndpointFailed as error:
                self.figures["failed"] += 1
                self.output_away = f"webhook: {error}"
            else:
                self.figures["delivered"] += 1
                self.output_away = ""
                return True
            finally:
                self.progress += 1
            if wait is not None:
                await asyncio.sleep(wait * (1 - self._io.random() / 2))
        return False

    async def _set_aside(self, told: Told[Notification]) -> None:
        value = encode_event(NotificationRecord(SCHEMA_VERSION, told.fact))
        place = self.runtime.topic, self.number, told.offset, -1
        letter = DeadLetter(SCHEMA_VERSION, *place, Code.NOT_TAKEN.number, value)
        value = encode_event(letter)
        send = self._io.producer.send_and_wait
        await self.retry(lambda: send(DEAD_LETTERS, self.number, value))
        self.figures["dead"] += 1
        log.error("%s: offset %d is a dead letter: %s", self.name, told.offset, self.output_away)
        self.output_away = ""

    def input_is(self, seen: InputSeen, position: int) -> None:
        if seen.topic != self._topic or seen.end < position:
            self.runtime.restart(self.number, f"{self.runtime.topic} is another, or shorter")

    def detach(self) -> Callable[[], None] | None:
        return None
