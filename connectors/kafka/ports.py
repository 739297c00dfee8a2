"""Kafka as the rest of the code sees it. `KafkaCluster` is the real one, `MemoryKafka` its twin.

Both pass the same contract suite (tests/contract/test_kafka.py).
"""

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from connectors.kafka.record import Record

Place = tuple[str, int]
"""A topic and a partition of it."""
Report = Callable[[Exception | None, int], None]
"""Called in the loop with an error and -1, or with None and the record's offset."""


class Fetch(NamedTuple):
    """When Kafka answers a fetcher: when it has so many bytes, or after so long. That is below
    SILENT_SECONDS of connectors/kafka/client_watch.py."""

    bytes: int = 1
    wait_seconds: float = 2.0


AT_ONCE = Fetch()
"""Something comes as soon as it is there."""


class QueueFull(Exception):
    """The producer takes nothing now. Hold the record back and try again later."""


class KafkaSendError(Exception):
    """Kafka did not take the record; the text is the client's."""


class OffsetGone(Exception):
    """The wanted offset is not (or no longer) in the partition."""


class ReadTimeout(Exception):
    """Kafka did not answer in time."""


class KafkaUnreachable(Exception):
    """Kafka does not answer at the address."""


class Producer(Protocol):
    """An idempotent producer with acks=all: in order per partition. It survives fatal errors.

    A fatal error of the client replaces the client: what was under way is reported as failed, and
    the next `send` uses the new one.
    """

    def send(
        self,
        topic: str,
        partition: int,
        value: bytes,
        on_report: Report | None = None,
        key: bytes | None = None,
    ) -> None:
        """Queue one record. Raises QueueFull, and nothing else."""

    async def send_and_wait(
        self, topic: str, partition: int, value: bytes, key: bytes | None = None
    ) -> int:
        """Send one record; returns its offset once Kafka has acknowledged it. Raises
        KafkaSendError, QueueFull."""

    def __len__(self) -> int:
        """Records not yet acknowledged."""

    async def close(self, flush_seconds: float) -> None:
        """Wait up to `flush_seconds` for what is queued, then report the rest as failed."""


async def acknowledged(send: Callable[[Report], None]) -> int:
    """Send a record by `send`, and wait for its offset. Raises KafkaSendError, and as `send`."""
    done: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def report(error: Exception | None, offset: int) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(offset)
        else:
            done.set_exception(KafkaSendError(str(error)))

    send(report)
    return await done


class Reader(Protocol):
    """Reads ranges of partitions, and what its group has committed. Blocking: run it in an
    executor, one thread at a time, and close it."""

    def watermarks(self, topic: str, partition: int) -> tuple[int, int]:
        """(first offset, offset after the last). Raises ReadTimeout."""

    def all_watermarks(
        self, topic: str, partitions: Collection[int], seconds: float
    ) -> Mapping[int, tuple[int, int]]:
        """partition → the same, with two requests for all. Raises ReadTimeout if one of them does
        not answer within `seconds`."""

    def all_starts(self, places: Collection[Place], seconds: float) -> Mapping[Place, int]:
        """place → the first offset, with one request for all. Raises ReadTimeout if it is not
        answered within `seconds`."""

    def all_ends(self, places: Collection[Place], seconds: float) -> Mapping[Place, int]:
        """place → the offset after the last, likewise."""

    def committed(self, topic: str, partition: int) -> int | None:
        """The offset that the group has committed, None if it has none. Raises ReadTimeout."""

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        """Records start..end-1 in order. Raises OffsetGone if `start` does not exist,
        ReadTimeout if nothing comes."""

    def batches(
        self,
        topic: str,
        partition: int,
        start: int,
        end: int,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Iterator[list[Record]]:
        """The same, one list for each fetch. It ends early once `stopped()` is true."""

    def close(self) -> None: ...


class Fetcher(Protocol):
    """Reads many partitions of one topic, each from the offset it is told. What has come waits
    until it is taken. An offset that Kafka does not have counts as the first that it has: whoever
    must not jump compares offsets."""

    def read(self, offsets: Mapping[int, int]) -> None:
        """Read these partitions and no others, each from its offset. Drops the records
        that wait of other offsets."""

    def seek(self, partition: int, offset: int) -> None:
        """Read a partition from `offset`. Drops the records of it that wait."""

    async def wait(self, seconds: float) -> None:
        """Return when something has come since this call, or the time is over."""

    def has(self, partitions: Collection[int]) -> bool:
        """Whether something of them waits."""

    def take(self, partitions: Collection[int]) -> dict[int, list[Record]]:
        """partition → all that waits of it, in order, of those of `partitions` that have
        something."""

    async def close(self) -> None: ...


class PartitionConsumer(Protocol):
    """Reads one partition; each fetch goes to a callback in the loop, in order."""

    async def close(self) -> None:
        """Stop reading; nothing more is handed over."""


class Kafka(Protocol):
    """One Kafka cluster: makes its clients. Use it inside a running loop."""

    def producer(self, conf: Mapping[str, Any]) -> Producer:
        """`conf` adds settings of librdkafka."""

    def reader(self, timeout: float = 30.0, group: str = "") -> Reader:
        """`timeout` in seconds; `group` is the consumer group whose offsets it reads."""

    def fetcher(self, topic: str, fetch: Fetch = AT_ONCE) -> Fetcher: ...

    def partition_consumer(
        self,
        topic: str,
        partition: int,
        offset: int,
        on_records: Callable[[Sequence[Record]], None],
        on_lost: Callable[[str], None],
    ) -> PartitionConsumer:
        """Reads from `offset` on. `on_lost` is called once, with a text, if that position no
        longer exists in Kafka, or if the consumer cannot go on."""

    def delete_before(self, topic: str, partition: int, offset: int) -> None:
        """Delete the records before an offset, for ever. Blocking. Raises KafkaUnreachable."""

    def topic_ids(self) -> Mapping[str, str]:
        """topic → Kafka's id of it, of our topics that exist. Blocking. Raises
        KafkaUnreachable."""
