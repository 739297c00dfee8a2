"""A node's part of the traces of messages: the spans from a device's send to its answer, and of
pushes."""

import asyncio
import re
from collections.abc import Callable, Sequence

from connectors.kafka.ports import Producer
from connectors.kafka.record import Record
from connectors.traces import ROOT, Traces
from gateway.submit import Failed, Submitter
from schemas.events import SubmittedItem

_FRAMES = re.compile(rb'"t":"(sent|refused|message)"[^}]*?"key":"([0-9a-f]{32})"')
"""Encoded frames in a delivery record. Before `key` they hold ids only, and bodies have their
quotation marks escaped."""
_MOST_OPEN = 1_000
_OPEN_SECONDS = 30.0

Receive = Callable[[Sequence[Record]], None]


class MessageTraces:
    """`node` is this node's id. Use it inside a running loop."""

    def __init__(self, traces: Traces, node: str) -> None:
        self._traces = traces
        self._node = node
        self._begun: dict[bytes, tuple[float, asyncio.TimerHandle]] = {}
        """Key → when its send came, and what ends the wait, of messages that have no answer yet.
        `_MOST_OPEN` at most."""

    def submitted(self, item: SubmittedItem) -> None:
        """A device's send has come."""
        key = item.key
        if self._traces.sampled(key) and len(self._begun) < _MOST_OPEN and key not in self._begun:
            loop = asyncio.get_running_loop()
            waiting = loop.call_later(_OPEN_SECONDS, self._end, key, "none within 30 s")
            self._begun[key] = self._traces.now(), waiting

    def around(self, receive: Receive) -> Receive:
        """`receive`, with spans of what it pushes."""

        def traced(records: Sequence[Record]) -> None:
            start = self._traces.now()
            receive(records)
            for record in records:
                for kind, hexed in _FRAMES.findall(record.value):
                    key = bytes.fromhex(hexed.decode())
                    if self._traces.sampled(key):
                        self._pushed(kind.decode(), key, start)

        return traced

    def _pushed(self, kind: str, key: bytes, start: float) -> None:
        if kind == "message":
            self._traces.span(key, "push", start, {"node": self._node})
        else:
            self._end(key, kind)

    def _end(self, key: bytes, answer: str) -> None:
        begun = self._begun.pop(key, None)
        if begun is not None:
            began, waiting = begun
            waiting.cancel()
            about = {"node": self._node, "answer": answer}
            self._traces.span(key, ROOT, began, about)


class TracedSubmitter(Submitter):
    """Tells `traces` of each send."""

    def __init__(
        self,
        producer: Producer,
        partitions: int,
        slot: Callable[[], int | None],
        traces: MessageTraces,
    ) -> None:
        super().__init__(producer, partitions, slot)
        self._traces = traces

    def submit(self, item: SubmittedItem, failed: Failed) -> None:
        """As Submitter does."""
        self._traces.submitted(item)
        super().submit(item, failed)
