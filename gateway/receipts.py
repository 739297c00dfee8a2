"""Sends devices' receipts to `receipts.submitted`.

Receipts are cumulative: of two for the same conversation and device the higher one is enough, and
sending a lower one after a higher one changes nothing. Only "this device was logged out" must be
sent again after an older receipt of the device, which would otherwise bring the device back.
"""

import asyncio
from collections.abc import Hashable

from cachetools import TTLCache

from connectors.kafka.ports import Producer
from gateway.coalescing_publisher import CoalescingPublisher
from schemas.codec import encode_event
from schemas.events import SCHEMA_VERSION, DeviceForgotten, Receipt, ReceiptRecord
from schemas.ids import partition_of
from schemas.topics import RECEIPTS

COLLECT_SECONDS = 0.3
"""Receipts are most of a node's facts, and nobody is in a hurry for a mark. What is collected is
one record a partition, all sent at once, and a device that reads along gives one receipt for all
messages of that time."""
_FORGET_SECONDS = 120.0
"""Longer than Kafka may take to report that a record failed: until then a log-out is remembered."""
_MAX_FORGOTTEN = 10_000

_Fact = Receipt | DeviceForgotten


class Receipts:
    """Use it inside a running loop."""

    def __init__(self, producer: Producer, partitions: int) -> None:
        self._partitions = partitions
        self._loop = asyncio.get_running_loop()
        self._forgotten = TTLCache[tuple[str, str], float](
            _MAX_FORGOTTEN, _FORGET_SECONDS, self._loop.time
        )
        """(user, device) → loop time of the last log-out."""
        self._publisher = CoalescingPublisher[_Fact](
            producer, RECEIPTS, _encode, _higher, self._renew, COLLECT_SECONDS
        )

    @property
    def submitted(self) -> int:
        return self._publisher.submitted

    def submit(self, receipt: Receipt) -> bool:
        """Queue a receipt. False: too many wait, and this one is not queued.

        `received` is one cursor of the user, whichever device says it; `read` is one of the device,
        too.
        """
        device = receipt.device if receipt.read else ""
        key = receipt.conversation, receipt.user, device
        partition = partition_of(receipt.conversation, self._partitions)
        return self._publisher.put(key, partition, receipt)

    def forget(self, user: str, device: str) -> bool:
        """Queue that a device was logged out, for every partition. False: too many facts wait, and
        not all of these are queued."""
        self._forgotten[user, device] = self._loop.time()
        fact = DeviceForgotten(user, device)
        queued = [
            self._publisher.put((number, user, device), number, fact)
            for number in range(self._partitions)
        ]
        return all(queued)

    def was_forgotten(self, user: str, device: str, since: float) -> bool:
        """Whether the device was logged out here at this loop time or later."""
        return self._forgotten.get((user, device), -1.0) >= since

    def flush(self) -> None:
        """Send what waits now, because the node stops."""
        self._publisher.flush()

    def _renew(self, key: Hashable, fact: _Fact, sent_at: float) -> list[tuple[Hashable, _Fact]]:
        """A device that was logged out after its receipt was sent is forgotten once more."""
        renewed = [(key, fact)]
        device = fact.user, fact.device
        if isinstance(fact, Receipt) and fact.read and self.was_forgotten(*device, sent_at):
            partition = partition_of(fact.conversation, self._partitions)
            renewed.append(((partition, *device), DeviceForgotten(*device)))
        return renewed


def _encode(items: list[_Fact]) -> bytes:
    return encode_event(ReceiptRecord(SCHEMA_VERSION, [*items]))


def _higher(earlier: _Fact, later: _Fact) -> _Fact:
    if isinstance(earlier, Receipt) and isinstance(later, Receipt) and earlier.seq > later.seq:
        return earlier
    return later
