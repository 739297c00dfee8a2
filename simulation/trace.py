"""The trace of a history: what its processes log, and the way of each message, a line each.

    device sends → input holds → worker appends → log holds → worker delivers → device shows

It only looks on: at the network of devices, at Kafka's records, and at what apps show.
"""

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TextIO

import msgspec

from schemas.codec import (
    Undecodable,
    decode_deliveries,
    decode_log,
    decode_receipts,
    decode_server_frames,
    split_frames,
)
from schemas.events import (
    AnswerDelivered,
    Delivered,
    MarkDelivered,
    MessageDelivered,
    MessageSubmitted,
    Receipt,
    RefusalSubmitted,
    Taken,
)
from schemas.frames import Mark, OutOfStep, Refused, Sent
from schemas.submitted_codec import decode_submitted
from schemas.topics import DELIVERIES, LOG, RECEIPTS, SUBMITTED

if TYPE_CHECKING:
    from simulation.world import World


class Trace(logging.Handler):
    """Writes to `file` until it is closed. A line has the virtual time in seconds, the process that
    acts (none for the history itself), and what it does. An outbox is named by the first four hex
    digits of its id; Input is what `messages.submitted` holds."""

    def __init__(self, world: "World", file: TextIO) -> None:
        super().__init__(logging.INFO)
        self._world = world
        self._file = file
        self._held: list[str] | None = None
        self._answered: set[tuple[str, str, int]] = set()
        root = logging.getLogger()
        self._level = root.level
        root.setLevel(logging.INFO)
        root.addHandler(self)
        world.loop.tell = self.write
        world.network.device_sent = self._device_sent
        world.broker.record_watch = self

    def emit(self, record: logging.LogRecord) -> None:
        self.write(f"{record.levelname} {record.name}: {record.getMessage()}")

    def write(self, what: str) -> None:
        line = f"{self._world.loop.time():10.4f} {self._world.running():12} {what}\n"
        if self._held is None:
            self._file.write(line)
        else:
            self._held.append(line)

    def begin_step(self) -> None:
        """A step begins: keep the lines that it causes at once."""
        self._held = []

    def end_step(self, step: str) -> None:
        """Write the step, then what it has caused."""
        held, self._held = self._held or (), None
        self.write(step)
        self._file.writelines(held)

    def close(self) -> None:
        self._file.writelines(self._held or ())
        world = self._world
        world.loop.tell = lambda line: None
        world.network.device_sent = world.broker.record_watch = None
        root = logging.getLogger()
        root.removeHandler(self)
        root.setLevel(self._level)
        super().close()

    # Devices

    def _device_sent(self, message: bytes, arrives: bool) -> None:
        user = self._world.running().partition("/")[0]
        for raw in split_frames(message):
            frame = msgspec.json.decode(raw)
            if frame["t"] == "send":
                conversation = ":".join(sorted((user, frame["to"])))
                place = _ordinal(conversation, frame["outbox"], frame["ordinal"])
                lost = "" if arrives else "; the connection is dead"
                self.write(f"sends {place}, round {frame.get('round', 0)}{lost}")

    # Kafka

    def sent(self, topic: str, partition: int, value: bytes) -> None:
        """See BrokerWatch."""
        if topic == LOG:
            record = decode_log(value)
            nothing = "" if record.taken else ", which takes no ordinal"
            self.write(
                f"appends {LOG}/{partition}: input {record.from_} to {record.to}{nothing};"
                f" delivered up to {record.delivered}"
            )
            for item in record.taken:
                self.write(f"  {_taken(item, partition)}")
        elif topic == DELIVERIES:
            for event in decode_deliveries(value).events:
                for text in self._delivered(event):
                    self.write(f"delivers to slot {partition}: {text}")

    def landed(self, topic: str, partition: int, offset: int, value: bytes) -> None:
        """See BrokerWatch."""
        place = f"{topic}/{partition} offset {offset}"
        if topic == LOG:
            record = decode_log(value)
            self.write(f"{place} holds input {record.from_} to {record.to}")
        elif topic == SUBMITTED:
            for item in decode_submitted(value):
                if isinstance(item, MessageSubmitted | RefusalSubmitted):
                    what = _ordinal(item.conversation, item.outbox.hex(), item.ordinal)
                    self.write(f"{place} holds {what}, round {item.round}")
        elif topic == RECEIPTS:
            for receipt in decode_receipts(value).items:
                if isinstance(receipt, Receipt):
                    did = "read" if receipt.read else "received"
                    self.write(
                        f"{place} holds: {receipt.user}/{receipt.device} has {did}"
                        f" {receipt.conversation} {receipt.seq}"
                    )

    def _delivered(self, event: Delivered) -> Iterator[str]:
        if isinstance(event, MessageDelivered):
            yield f"{event.conversation} {event.seq} for {' and '.join(event.users)}"
        elif isinstance(event, MarkDelivered):
            for mark in _frames(event.frame):
                if isinstance(mark, Mark):
                    yield (
                        f"mark for {' and '.join(event.users)}: {mark.user} has received"
                        f" {mark.conversation} {mark.received} and read {mark.read}"
                    )
        elif isinstance(event, AnswerDelivered):
            for frame in _frames(event.frame):
                yield f"answer for {event.user}/{event.device}: {self._answer(frame)}"

    def _answer(self, frame: Any) -> str:
        if not isinstance(frame, Sent | Refused | OutOfStep):
            return str(frame)
        what = _ordinal(frame.conversation, frame.outbox, frame.ordinal)
        if isinstance(frame, OutOfStep):
            return f"{what} is out of step ({frame.reason}); the next is {frame.next}"
        place = frame.conversation, frame.outbox, frame.ordinal
        again = ", again" if place in self._answered else ""
        self._answered.add(place)
        if isinstance(frame, Refused):
            return f"{what} is refused with code {frame.code}{again}"
        return f"{what} is {frame.conversation} {frame.seq}{again}"


def _frames(encoded: bytes) -> list[Any]:
    try:
        return list(decode_server_frames(encoded))
    except Undecodable:
        return []


def _ordinal(conversation: str, outbox: str, ordinal: int) -> str:
    return f"{conversation} ordinal {ordinal} of outbox {outbox[:4]}"


def _taken(item: Taken, partition: int) -> str:
    what = f"{item.conversation} {item.seq}" if item.seq else f"refusal {item.code}"
    return (
        f"{what} ← ordinal {item.ordinal} of outbox {item.outbox.hex()[:4]}, input offset"
        f" {item.offset}"
    )
