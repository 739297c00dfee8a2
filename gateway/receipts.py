"""Devices' receipts into `receipts.submitted`: cumulative, so what queues is merged, and what is lost is said again."""

import asyncio
import logging
from collections.abc import Callable

from connectors.kafka.producer import KafkaProducer, QueueFull
from schemas.codec import MAX_SUBMITTED_BYTES, encode_event, pack
from schemas.events import SCHEMA_VERSION, DeviceForgotten, Receipt, ReceiptRecord
from schemas.ids import partition_of
from schemas.topics import RECEIPTS

log = logging.getLogger(__name__)

MAX_WAITING = 50_000
"""Cursors that wait to be submitted; beyond them devices are told to try later."""
_COLLECT_SECONDS = 0.005
"""How long receipts are collected: a device that is pushed many messages says so once."""
_RETRY_SECONDS = 1.0
_MAX_BYTES = 300
"""Of one encoded receipt, at most."""

CursorKey = tuple[str, str, str, bool]
"""(conversation, user, device, read)."""


class Receipts:
    """Use it inside a running loop."""

    def __init__(self, producer: KafkaProducer, partitions: int, later: Callable[..., object] | None = None) -> None:
        self._producer = producer
        self._partitions = partitions
        self._later = later or asyncio.get_running_loop().call_later
        self._waiting: dict[CursorKey, int] = {}
        self._forgotten: list[tuple[int, DeviceForgotten]] = []
        self._scheduled = False
        self.submitted = 0

    def submit(self, cursor: CursorKey, seq: int) -> bool:
        """Take a receipt; False: too many wait, and this one is not taken."""
        known = self._waiting.get(cursor)
        if known is None and len(self._waiting) >= MAX_WAITING:
            return False
        if known is None or seq > known:
            self._waiting[cursor] = seq
        self._schedule(_COLLECT_SECONDS)
        return True

    def forget(self, user: str, device: str) -> None:
        """A device was logged out."""
        self._forgotten += [(partition, DeviceForgotten(user, device)) for partition in range(self._partitions)]
        self._schedule(_COLLECT_SECONDS)

    def _schedule(self, seconds: float) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._later(seconds, self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        waiting, self._waiting = self._waiting, {}
        forgotten, self._forgotten = self._forgotten, []
        items: dict[int, list[Receipt | DeviceForgotten]] = {}
        for (conversation, user, device, read), seq in waiting.items():
            place = partition_of(conversation, self._partitions)
            items.setdefault(place, []).append(Receipt(conversation, user, device, seq, read))
        for place, one in forgotten:
            items.setdefault(place, []).append(one)
        for place, some in items.items():
            for cut in pack((_MAX_BYTES for _ in some), MAX_SUBMITTED_BYTES):
                self._send(place, some[cut])

    def _send(self, place: int, items: list[Receipt | DeviceForgotten]) -> None:
        value = encode_event(ReceiptRecord(SCHEMA_VERSION, items))
        try:
            self._producer.send(RECEIPTS, place, value, lambda error, _: self._again(place, items) if error else None)
            self.submitted += len(items)
        except QueueFull:
            self._again(place, items)

    def _again(self, place: int, items: list[Receipt | DeviceForgotten]) -> None:
        """Kafka did not take them: once more, merged with what has come since."""
        for item in items:
            if isinstance(item, DeviceForgotten):
                self._forgotten.append((place, item))
                continue
            cursor = item.conversation, item.user, item.device, item.read
            if cursor in self._waiting or len(self._waiting) < MAX_WAITING:
                self._waiting[cursor] = max(item.seq, self._waiting.get(cursor, 0))
        self._schedule(_RETRY_SECONDS)
