"""The ports of the sequencer's partitions: Kafka's log, deliveries and dead letters, the routes,
the claims, and the tables on this worker's disk."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from agents.route_lookups import RouteLookups
from agents.rules.decisions import Decisions
from agents.rules.fanout import Routes as RoutesFound
from agents.rules.fold import DeadItem
from agents.sequencer.log_pages import LogPages
from agents.sequencer.memberships import all_said_records, member_records
from agents.sequencer.queries import TakenByConversation
from agents.sequencer.remembered_routes import RememberedRoutes
from agents.sequencer.restore import Restored, decisions_from, restore
from agents.sequencer.snapshot_reading import Place
from agents.sequencer.snapshot_store import KafkaSnapshots, Threads
from agents.sequencer.snapshot_writer import SnapshotTurns
from connectors.kafka.ports import Kafka, OffsetGone, Reader, ReadTimeout
from connectors.kafka.record import Record
from connectors.redis.owners import Owners
from connectors.redis.routes import Routes
from schemas.codec import encode_event
from schemas.events import SCHEMA_VERSION, DeadLetter, Delivered
from schemas.topics import DEAD_LETTERS, LOG, MEMBERSHIPS, SUBMITTED
from streams.inputs import InputSeen
from streams.sending import send_all
from streams.slot_sender import SlotSender
from streams.tables.sequences import SequenceTable

T = TypeVar("T")

_LOG_SECONDS = 5.0
"""A reader of the log waits so long for Kafka."""
_LOG_THREADS = 4


class SequencerIO:
    """Shared by all partitions of a worker. Make it inside a running loop; close it.

    The producer of `sender` sends without a linger and without a timeout. `group` is the stage's in
    Kafka, `open_table(partition)` opens a table on this worker's disk, `address` is where
    gateways reach this worker, and the topics have so many `partitions`.
    """

    def __init__(
        self,
        kafka: Kafka,
        sender: SlotSender,
        group: str,
        open_table: Callable[[int], SequenceTable],
        routes: Routes,
        owners: Owners,
        address: str,
        partitions: int,
    ) -> None:
        self.kafka = kafka
        self.group = group
        self.open_table = open_table
        self.owners = owners
        self.address = address
        self.partitions = partitions
        self.producer = sender.producer
        self.sender = sender
        self.lookups = RouteLookups(routes)
        self.pages = LogPages(kafka)
        self.snapshot_turns = SnapshotTurns(address, partitions, asyncio.Lock())
        self._threads = ThreadPoolExecutor(_LOG_THREADS, "log")

    async def close(self) -> None:
        """End the readers of the log."""
        await self.pages.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def partition(self, number: int, confirmed: Callable[[], bool]) -> "PartitionIO":
        """The ports of one partition. `confirmed`: no other worker can have it now."""
        return PartitionIO(self, number, confirmed)

    async def in_thread(self, work: Callable[[], T]) -> T:
        """What `work`, which reads the log and blocks, returns."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


class PartitionIO:
    """LogPort (appender.py), DeliveryPort (deliverer.py) and MembershipPort (memberships.py) of one
    partition, and what else it asks of the outside."""

    def __init__(self, io: SequencerIO, number: int, confirmed: Callable[[], bool]) -> None:
        self.routes = RememberedRoutes(
            io.lookups.lookup, confirmed, asyncio.get_running_loop().time
        )
        self._io = io
        self._number = number
        self.threads: Threads = io
        self.snapshots = KafkaSnapshots(io.kafka, io.producer, Place(number, io.partitions), io)
        self.snapshot_turns = io.snapshot_turns

    def append(self, value: bytes, report: Callable[[bool, int], None]) -> None:
        self._io.producer.send(
            LOG, self._number, value, lambda error, offset: report(error is None, offset)
        )

    def deliver(
        self, slot: int, events: Sequence[Delivered], report: Callable[[bool], None]
    ) -> None:
        self._io.sender.send(slot, events, report)

    async def claim(self) -> None:
        """Say that this worker has the partition. Raises RedisUnavailable."""
        await self._io.owners.take(self._number, self._io.address)

    async def lookup(self, users: Sequence[str]) -> RoutesFound:
        return await self.routes.lookup(users)

    def forget(self, users: Sequence[str]) -> None:
        for user in users:
            self.routes.forget(user)

    async def say_members(self, users: Sequence[str]) -> None:
        records = member_records(users, self._number, self._io.partitions)
        await send_all(self._io.producer, MEMBERSHIPS, records)

    async def say_all_said(self, topic: str) -> None:
        records = all_said_records(topic, self._number, self._io.partitions)
        await send_all(self._io.producer, MEMBERSHIPS, records)

    async def dead_letters(self, items: list[DeadItem]) -> None:
        while items:
            item = items[0]
            letter = DeadLetter(
                SCHEMA_VERSION,
                SUBMITTED,
                self._number,
                item.offset,
                item.place,
                item.code.number,
                item.value,
            )
            await self._io.producer.send_and_wait(DEAD_LETTERS, self._number, encode_event(letter))
            del items[0]

    async def read_log(self, start: int) -> AsyncIterator[list[Record]]:
        reader: Reader = self._io.kafka.reader(_LOG_SECONDS)
        in_thread = self._io.in_thread
        try:
            _, end = await in_thread(lambda: reader.watermarks(LOG, self._number))
            if end < start:
                raise OffsetGone(f"the log ends at offset {end}, and {start} follows")
            batches: Iterator[list[Record]] = reader.batches(LOG, self._number, start, end)
            while (batch := await in_thread(lambda: next(batches, None))) is not None:
                yield batch
        finally:
            await in_thread(reader.close)

    async def look_at_input(self, offset: int) -> tuple[InputSeen, Record | None]:
        """The input, and its record at an offset; None if the input does not have it (any more).
        By a client of its own: one that remembers the brokers of before waits for them. Raises
        ReadTimeout, OffsetGone, KafkaUnreachable."""

        def look() -> tuple[InputSeen, Record | None]:
            topic = self._io.kafka.topic_ids().get(SUBMITTED)
            if topic is None:
                raise ReadTimeout(f"there is no topic {SUBMITTED} now")
            with contextlib.closing(self._io.kafka.reader(_LOG_SECONDS)) as reader:
                start, end = reader.watermarks(SUBMITTED, self._number)
                record = None
                if start <= offset < end:
                    record = next(reader.read(SUBMITTED, self._number, offset, offset + 1))
                return InputSeen(topic, start, end), record

        return await self._io.in_thread(look)

    async def read_decisions(self, first: int) -> tuple[Decisions, int]:
        """What operators have decided in the input from offset `first` on, and where it ends."""
        reader: Reader = self._io.kafka.reader(_LOG_SECONDS)
        in_thread = self._io.in_thread
        try:
            return await in_thread(lambda: decisions_from(reader, self._number, first))
        finally:
            await in_thread(reader.close)

    async def read_records(self, offsets: Sequence[int]) -> list[TakenByConversation]:
        """The log's records at these offsets, in order. Raises ReadTimeout, OffsetGone."""
        return await self._io.pages.read(self._number, offsets)

    def forget_pages(self) -> None:
        """What was read of the log may not be in it any more."""
        self._io.pages.forget(self._number)

    def restore(self, stopped: Callable[[], bool], at: Callable[[int, int], None]) -> Restored:
        """Blocks; see agents/sequencer/restore.py."""
        io = self._io
        reader = io.kafka.reader(group=io.group)
        try:
            return restore(
                Place(self._number, io.partitions),
                lambda: io.open_table(self._number),
                reader,
                io.kafka.topic_ids(),
                stopped,
                at,
            )
        finally:
            reader.close()
