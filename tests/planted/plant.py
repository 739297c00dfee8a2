"""A planted fault: what is sent, and what a system with this fault would make of it."""

from collections.abc import Callable, Sequence
from itertools import count
from typing import NamedTuple

import msgspec

from agents.rules.archive import cursor_rows, message_rows
from agents.rules.batch import fold_records
from agents.rules.fanout import deliveries, message_frame
from agents.rules.fold import FoldState
from agents.rules.fold_view import InMemoryFoldView
from connectors.redis.recent import Window
from ops.audit.verdict import NOWHERE, Finding
from schemas.archive import CursorRow, Row
from schemas.codec import encode_event
from schemas.events import (
    READ,
    SCHEMA_VERSION,
    CursorRecord,
    Delivered,
    DeliveryRecord,
    LogRecord,
    MessageSubmitted,
    SubmittedRecord,
    Taken,
)
from schemas.ids import partition_of

PARTITIONS = 4
SLOT = 3
"""Of the planted deliveries."""
replace = msgspec.structs.replace


class Laid(NamedTuple):
    """Where a plant's data stands: its conversation, and its first input offset, log offset and
    delivery offset."""

    conversation: str
    partition: int
    input: int
    log: int
    delivery: int


Log = list[LogRecord]


def messages(conversation: str, *ordinals: int) -> list[MessageSubmitted]:
    """Messages of the conversation's first member, by their ordinals."""
    sender = conversation.split(":")[0]
    return [
        MessageSubmitted(
            conversation,
            sender,
            "phone",
            b"o" * 16,
            ordinal,
            ordinal.to_bytes(16, "big"),
            0,
            f"message {ordinal} of {sender}",
        )
        for ordinal in ordinals
    ]


def one_each(conversation: str) -> list[list[MessageSubmitted]]:
    """Three messages, each in a record of its own."""
    return [[item] for item in messages(conversation, 1, 2, 3)]


def honest(log: Log) -> Sequence[LogRecord | bytes]:
    return log


def nothing(log: Log) -> Sequence[Delivered | bytes]:
    return ()


class Store(NamedTuple):
    """What other stores have of a plant: rows of the archive, records of the topic `cursors`,
    cursors in the archive, a window in Redis, and routes (user, device) → value."""

    rows: list[Row]
    cursors: list[CursorRecord]
    archived_cursors: list[CursorRow]
    windows: list[Window]
    routes: list[tuple[str, str, str]]


def intact(store: Store) -> Store:
    return store


class Plant(NamedTuple):
    """`fault` in words; `finding` is what the judge must say, and `check` the check that finds it,
    as Class.method. `sent` are the input records; `log` and `delivered` make, of the honest log
    records of these, what is found in Kafka; `spoil` spoils what other stores have. Plants of
    partition 0 may follow each other."""

    fault: str
    check: str
    finding: Callable[[Laid], Finding]
    sent: Callable[[str], list[list[MessageSubmitted]]] = one_each
    log: Callable[[Log], Sequence[LogRecord | bytes]] = honest
    delivered: Callable[[Log], Sequence[Delivered | bytes]] = nothing
    spoil: Callable[[Store], Store] = intact
    partition: int = 0


HONEST = Plant("nothing is wrong", "", lambda laid: Finding("", NOWHERE, ""))


class InputSeen(NamedTuple):
    """An input record as Kafka has stored it."""

    offset: int
    timestamp: int
    value: bytes


def conversation_in(partition: int, number: int) -> str:
    """A conversation of the partition that no other number gives."""
    return next(
        name
        for one in count()
        if partition_of(name := f"a{number}-{one}:b{number}", PARTITIONS) == partition
    )


def input_values(plants: Sequence[Plant], partition: int) -> list[bytes]:
    """What stands in this partition of the input."""
    return [
        encode_event(SubmittedRecord(SCHEMA_VERSION, list(items)))
        for number, plant in enumerate(plants)
        if plant.partition == partition
        for items in plant.sent(conversation_in(partition, number))
    ]


def honest_log(inputs: Sequence[InputSeen]) -> Log:
    """What the sequencer appends for these records, one by one."""
    state = FoldState(InMemoryFoldView())
    return [batch.log_record(-1) for one in inputs for batch in fold_records(state, [one])]


class Spoiled(NamedTuple):
    """Values of records: those of a partition of the log, and of the planted deliveries. `laid`:
    fault → where it is; `stores`: conversation → what other stores have of it."""

    log: list[bytes]
    delivered: list[bytes]
    laid: dict[str, Laid]
    stores: dict[str, Store]


def spoil(plants: Sequence[Plant], partition: int, log: Log, deliveries_before: int) -> Spoiled:
    """Plant the partition's faults in its honest log."""
    found = Spoiled([], [], {}, {})
    first = 0
    for number, plant in enumerate(plants):
        if plant.partition != partition:
            continue
        conversation = conversation_in(partition, number)
        own = log[first : first + len(plant.sent(conversation))]
        found.laid[plant.fault] = Laid(
            conversation,
            partition,
            first,
            len(found.log),
            deliveries_before + len(found.delivered),
        )
        first += len(own)
        for record in plant.log(own):
            found.log.append(record if isinstance(record, bytes) else encode_event(record))
        for event in plant.delivered(own):
            one = event if isinstance(event, bytes) else delivery_record(event)
            found.delivered.append(one)
        store = _honest_store(partition, own)
        if store.rows[0].conversation == conversation:
            found.stores[conversation] = plant.spoil(store)
    return found


def _honest_store(partition: int, log: Log) -> Store:
    """What the archive, the cursors and a window have of these records when all is right."""
    taken = [item for record in log for item in record.taken if item.seq]
    rows = message_rows(partition, 0, taken)
    conversation, last = taken[0].conversation, taken[-1]
    reader = conversation.split(":")[1]
    cursor = CursorRecord(SCHEMA_VERSION, conversation, reader, READ, last.seq, last.time)
    window = Window(1, [message_frame(item) for item in taken])
    return Store(rows, [cursor], cursor_rows(cursor), [window], [])


def delivery_record(event: Delivered) -> bytes:
    return encode_event(DeliveryRecord(SCHEMA_VERSION, [event]))


def told(item: Taken, to: str) -> list[Delivered]:
    """The deliveries of a taken message to a device of the user `to`."""
    return deliveries([item], [], {to: [("phone", SLOT)]})[SLOT]
