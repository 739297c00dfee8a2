"""Latency by hop: consumers of this process watch the topics and note when each message passes.

They recognise a message by its key. A hop counts from when this process saw the message in
`messages.submitted`.
"""

import threading
import time
from types import TracebackType
from typing import Self

from connectors.kafka.reader import Reader
from schemas.codec import decode_deliveries, decode_server_frames, decode_submitted
from schemas.events import MessageDelivered, MessageSubmitted
from schemas.frames import Message
from schemas.topics import DELIVERIES, SUBMITTED

_FOREVER = 2**60


class Hops:
    """Watches the topics while its context is entered."""

    def __init__(self, kafka: str, partitions: int = 4) -> None:
        self._kafka = kafka
        self._partitions = partitions
        self._submitted: dict[str, float] = {}
        self._delivered: dict[str, float] = {}
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        watched = [(SUBMITTED, partition) for partition in range(self._partitions)] + [
            (DELIVERIES, 0)
        ]
        for topic, partition in watched:
            thread = threading.Thread(target=self._watch, args=(topic, partition), daemon=True)
            thread.start()
            self._threads.append(thread)
        time.sleep(1.0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def figures(self) -> dict[str, dict[str, float]]:
        """p50, p95 and p99 (ms) from `messages.submitted` to `deliveries`: fetch, fold, lookup of
        routes, produce, fetch."""
        seconds = sorted(
            at - self._submitted[key]
            for key, at in self._delivered.items()
            if key in self._submitted
        )
        ordered = seconds or [0.0]
        found = {
            f"p{p}": round(ordered[min(len(ordered) - 1, len(ordered) * p // 100)] * 1000, 2)
            for p in (50, 95, 99)
        }
        return {"submitted_to_delivered": found}

    def _watch(self, topic: str, partition: int) -> None:
        reader = Reader(self._kafka, timeout=3600)
        end = reader.watermarks(topic, partition)[1]
        for batch in reader.batches(topic, partition, end, _FOREVER, self._stopped.is_set):
            now = time.monotonic()
            for record in batch:
                if topic == SUBMITTED:
                    for item in decode_submitted(record.value):
                        if isinstance(item, MessageSubmitted):
                            self._submitted[item.key.hex()] = now
                else:
                    for event in decode_deliveries(record.value).events:
                        if isinstance(event, MessageDelivered):
                            for frame in decode_server_frames(event.frame):
                                if isinstance(frame, Message):
                                    self._delivered[frame.key] = now
        reader.close()
