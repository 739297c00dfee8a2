"""The clients of a Kafka in memory, as one process has them (connectors/kafka/ports.py).

What a process does happens in its context; what is on the network goes its way without it. So a
process that stands still appends late what it had not sent, and what it had sent lands meanwhile.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from contextvars import Context, copy_context
from typing import Any

from connectors.kafka.memory_broker import MemoryBroker
from connectors.kafka.memory_producer import MemoryProducer
from connectors.kafka.memory_readers import MemoryFetcher, MemoryPartitionConsumer, MemoryReader
from connectors.kafka.ports import AT_ONCE, Fetch, KafkaUnreachable
from connectors.kafka.record import Record


class MemoryKafka:
    """`Kafka` of one process. Make it in that process' context. `connected` and `hears` are the two
    directions of its network: what it sends arrives, and what it is sent.

    `full` makes every `send` raise QueueFull.
    """

    def __init__(self, broker: MemoryBroker) -> None:
        self.broker = broker
        self.full = False
        self._connected = True
        self._hears = True
        self.context = copy_context()
        """The process'."""
        self._network = Context()
        self._producers: list[MemoryProducer] = []
        self._changed: dict[Callable[[], None], None] = {}
        broker.clients[self._poke] = None

    @property
    def reads(self) -> bool:
        """Whether questions are answered now."""
        return self.broker.up and self._connected and self._hears

    @property
    def writes(self) -> bool:
        """Whether what is sent arrives now."""
        return self.broker.up and self._connected

    @property
    def hears(self) -> bool:
        """Whether acknowledgements arrive now."""
        return self.broker.up and self._hears

    def cut(self, sends: bool = False, hears: bool = False) -> None:
        """The network to the broker fails, in one direction or in both."""
        self._connected, self._hears = sends, hears

    def mend(self) -> None:
        self._connected = self._hears = True
        self._poke()

    def break_producers(self, chance: random.Random) -> None:
        """A fatal error of the client: all that is not acknowledged is reported as failed, and the
        first of it may still land, later."""
        for producer in self._producers:
            producer.break_(chance)

    def forget(self) -> None:
        """The process is gone."""
        self.broker.clients.pop(self._poke, None)
        self._changed.clear()

    def _poke(self) -> None:
        for changed in list(self._changed):
            changed()

    def later(self, function: Callable[..., object], *args: Any) -> None:
        """After a step of the network, in the process."""
        asyncio.get_running_loop().call_later(
            self.broker.latency(), function, *args, context=self.context
        )

    def in_process(self, function: Callable[..., object], *args: Any) -> None:
        """Now, in the process."""
        self.context.copy().run(function, *args)

    def on_network(self, when: float, function: Callable[..., object], *args: Any) -> None:
        """At a time, whatever the process does."""
        asyncio.get_running_loop().call_at(when, function, *args, context=self._network)

    def watch(self, changed: Callable[[], None]) -> None:
        self._changed[changed] = None

    def unwatch(self, changed: Callable[[], None]) -> None:
        self._changed.pop(changed, None)

    # Kafka

    def producer(self, conf: Mapping[str, Any]) -> MemoryProducer:
        producer = MemoryProducer(self, conf)
        self._producers.append(producer)
        return producer

    def reader(self, timeout: float = 30.0, group: str = "") -> MemoryReader:
        return MemoryReader(self, timeout, group)

    def fetcher(self, topic: str, fetch: Fetch = AT_ONCE) -> MemoryFetcher:
        return MemoryFetcher(self, topic)

    def partition_consumer(
        self,
        topic: str,
        partition: int,
        offset: int,
        on_records: Callable[[list[Record]], None],
        on_lost: Callable[[str], None],
    ) -> MemoryPartitionConsumer:
        return MemoryPartitionConsumer(self, topic, partition, offset, on_records, on_lost)

    def delete_before(self, topic: str, partition: int, offset: int) -> None:
        if not self.writes or not self.broker.log(topic, partition).leader:
            self.broker.spend(15.0)
            raise KafkaUnreachable(f"{topic}/{partition} in memory has no leader now")
        self.broker.expire(topic, partition, offset)

    def topic_ids(self) -> Mapping[str, str]:
        if not self.reads:
            self.broker.spend(15.0)
            raise KafkaUnreachable("Kafka in memory does not answer")
        return self.broker.topic_ids()
