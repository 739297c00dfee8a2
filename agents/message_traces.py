"""A worker's part of the traces of messages: until they are delivered, and until they are in the
archive."""

import re
from collections.abc import Mapping, Sequence

from agents.archiver.content import MESSAGES, Content
from connectors.clickhouse.ports import Archive
from connectors.kafka.ports import Producer
from connectors.traces import Traces
from schemas.archive import Row
from schemas.events import Delivered, MessageDelivered
from streams.slot_sender import SlotSender, Told

_KEY_AND_TIME = re.compile(rb'"key":"([0-9a-f]{32})","time":(\d+)')
"""Of a `message` frame."""


class TracedSender(SlotSender):
    """Says of each message how long it took from the broker's append of the send until Kafka has
    acknowledged the delivery to a slot."""

    def __init__(self, producer: Producer, traces: Traces) -> None:
        super().__init__(producer)
        self._traces = traces

    def send(
        self, slot: int, events: Sequence[Delivered], told: Told, patience: float = 0.0
    ) -> None:
        """As SlotSender does."""
        spans = [
            (key, int(found[2]), event.seq)
            for event in events
            if type(event) is MessageDelivered
            and (found := _KEY_AND_TIME.search(event.frame))
            and self._traces.sampled(key := bytes.fromhex(found[1].decode()))
        ]

        def say(ok: bool) -> None:
            for key, start, seq in spans:
                about: Mapping[str, str | int] = {"slot": slot, "seq": seq, "acknowledged": str(ok)}
                self._traces.span(key, "deliver", start, about)
            told(ok)

        super().send(slot, events, say if spans else told, patience)


def traced_messages(traces: Traces) -> Content[Row]:
    """The content of the archive; says of each message how long it took from the broker's append of
    the send until ClickHouse has it."""

    async def insert(archive: Archive, rows: Sequence[Row], token: str) -> None:
        await MESSAGES.insert(archive, rows, token)
        for row in rows:
            if traces.sampled(row.key):
                about = {"partition": row.log_partition, "seq": row.seq}
                traces.span(row.key, "archive", row.time, about)

    return MESSAGES._replace(insert=insert)
