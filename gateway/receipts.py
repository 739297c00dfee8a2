"""Devices' receipts into `receipts.submitted`: cumulative, so of two the higher is enough."""

from connectors.kafka.producer import KafkaProducer
from gateway.coalescing_publisher import CoalescingPublisher
from schemas.codec import encode_event
from schemas.events import SCHEMA_VERSION, DeviceForgotten, Receipt, ReceiptRecord
from schemas.ids import partition_of
from schemas.topics import RECEIPTS

_COLLECT_SECONDS = 0.005
"""A device that is pushed many messages says so once."""


class Receipts:
    """Use it inside a running loop."""

    def __init__(self, producer: KafkaProducer, partitions: int) -> None:
        self._partitions = partitions
        self._facts = CoalescingPublisher(producer, RECEIPTS, _record, _higher, _COLLECT_SECONDS)

    @property
    def submitted(self) -> int:
        return self._facts.submitted

    def submit(self, receipt: Receipt) -> bool:
        """Take a receipt; False: too many wait, and this one is not taken."""
        key = receipt.conversation, receipt.user, receipt.device, receipt.read
        return self._facts.put(key, partition_of(receipt.conversation, self._partitions), receipt)

    def forget(self, user: str, device: str) -> bool:
        """A device was logged out. False: too many wait, and not all of it is taken."""
        fact = DeviceForgotten(user, device)
        taken = [
            self._facts.put((number, user, device), number, fact)
            for number in range(self._partitions)
        ]
        return all(taken)


def _record(items: list[Receipt | DeviceForgotten]) -> bytes:
    return encode_event(ReceiptRecord(SCHEMA_VERSION, items))


def _higher(
    earlier: Receipt | DeviceForgotten, later: Receipt | DeviceForgotten
) -> Receipt | DeviceForgotten:
    if isinstance(earlier, Receipt) and isinstance(later, Receipt) and earlier.seq > later.seq:
        return earlier
    return later
