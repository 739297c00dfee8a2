"""A librdkafka consumer that the event loop polls, and that goes on by another client when one
fails."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from confluent_kafka import Consumer, Message, TopicPartition

from connectors.dependency import Dependency
from connectors.kafka import client_config
from connectors.kafka.client_watch import ClientWatch
from connectors.kafka.queue_wakeups import Wakeups, wakeups

log = logging.getLogger(__name__)

AGAIN_SECONDS = 1.0
"""Between a failure of the client and the next client."""
MAX_BATCH = 500
"""Records of one turn of the loop."""
MAX_QUEUED_KIB = 4 * 1024
"""Of librdkafka's queue. One turn takes no more than it holds."""


class HealingConsumer:
    """Make it inside the loop that uses it, and close it. `conf` adds settings of librdkafka.

    Each client reads `positions()`; so does the next one, when a client fails, or gets no fetch of
    a partition from brokers that answer. `take` is called in the loop with what came, in order.
    While `room()` is false nothing is taken: call `go_on` when it has become true.
    """

    def __init__(
        self,
        servers: str,
        name: str,
        conf: dict[str, Any],
        positions: Callable[[], Iterable[TopicPartition]],
        take: Callable[[Sequence[Message]], None],
        room: Callable[[], bool] = lambda: True,
        dependency: Dependency | None = None,
    ) -> None:
        self.name = name
        self._positions = positions
        self._take = take
        self._room = room
        self._loop = asyncio.get_running_loop()
        self._watch = ClientWatch(name, dependency or Dependency("kafka"), self._stuck)
        self._conf = client_config.consumer(
            servers, self._watch, {"queued.max.messages.kbytes": MAX_QUEUED_KIB, **conf}
        )
        self._closed = False
        self._going_on = False
        self._again: asyncio.Handle | None = None
        """Set while a failed client waits for its successor."""
        self._lacking: Sequence[int] = ()
        """Partitions of which the client gets nothing."""
        self._closing: set[asyncio.Future[None]] = set()
        self._client, self._wakeups = self._new()

    def change(self, change: Callable[[Consumer], None]) -> None:
        """Tell the client of other positions, after `positions()` has them."""
        if not self._closed and self._again is None:
            self._guarded(lambda: change(self._client))

    def go_on(self) -> None:
        """Poll in the next turn of the loop, whatever wakes it."""
        if not self._going_on:
            self._going_on = True
            self._loop.call_soon(self._gone_on)

    def begin_anew(self) -> None:
        """Read the positions by another client."""
        self._begin_anew_in(0)

    async def close(self) -> None:
        """Stop reading; `take` is not called any more."""
        if not self._closed:
            self._closed = True
            if self._again is not None:
                self._again.cancel()
            self._close_client()
        await asyncio.gather(*self._closing)
        self._watch.closed()

    def _new(self) -> tuple[Consumer, Wakeups]:
        client = Consumer(self._conf)
        if positions := list(self._positions()):
            client.incremental_assign(positions)
        return client, wakeups(client, self._poll)

    def _gone_on(self) -> None:
        self._going_on = False
        self._poll()

    def _poll(self) -> None:
        waits = self._going_on or self._again is not None
        if self._closed or waits or not self._room():
            return
        messages: list[Message] = []
        self._guarded(lambda: messages.extend(self._fetch()))
        if self._lacking:
            log.error("%s gets nothing of partitions %s", self.name, self._lacking)
            self._begin_anew_in(0)
        try:
            if messages:
                self._take(messages)
        finally:
            if len(messages) == MAX_BATCH:
                self.go_on()

    def _fetch(self) -> list[Message]:
        """What there is; it does not wait. librdkafka's statistics and errors are reported inside
        it."""
        messages: list[Message] = self._client.consume(MAX_BATCH, 0)
        return messages

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception:  # or the process would be deaf in silence
            log.exception("%s fails, and begins anew", self.name)
            self._watch.failed("its client failed")
            self._begin_anew_in(AGAIN_SECONDS)

    def _stuck(self, partitions: Sequence[int]) -> None:
        self._lacking = partitions  # no more: a client that is being closed says it in a thread

    def _begin_anew_in(self, seconds: float) -> None:
        if not self._closed and self._again is None:
            self._again = self._loop.call_later(seconds, self._begin_anew)

    def _begin_anew(self) -> None:
        """Another client reads on from where the last one was."""
        self._close_client()
        self._again = None
        self._lacking = ()
        self._guarded(self._replace)
        self._watch.began_anew()

    def _replace(self) -> None:
        self._client, self._wakeups = self._new()

    def _close_client(self) -> None:
        self._wakeups.close()
        closing = self._loop.run_in_executor(None, _close, self._client)
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)


def _close(client: Consumer) -> None:
    """In a thread: it waits for the client's own threads."""
    try:
        client.close()
    except Exception:
        log.exception("a consumer cannot be closed")
