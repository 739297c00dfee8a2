"""A sequencer over Kafka in memory: what is sent to it, and what comes of that."""

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from agents.sequencer.partition import SequencerPartition
from agents.sequencer.snapshot_writer import SnapshotPolicy
from connectors.kafka.memory import MemoryKafka
from schemas.codec import decode_log, decode_membership, encode_event
from schemas.events import (
    SCHEMA_VERSION,
    AllSaid,
    Membership,
    MessageDelivered,
    MessageSubmitted,
    SubmittedRecord,
)
from schemas.topics import LOG, MEMBERSHIPS, SUBMITTED
from schemas.worker_api import HeadsQuestion, SeqsQuestion
from streams.worker_api import Request, Response
from tests.harness.stage_run import StageRun, delivered

A = "alice:bob"
SLOT = 1
"""Bob's device is there."""

Run = StageRun[SequencerPartition]


class Make(Protocol):
    """Makes a worker of the stage, always on the same disk."""

    def __call__(self, policy: SnapshotPolicy = SnapshotPolicy()) -> Run: ...  # noqa: B008


def submitted(ordinal: int, conversation: str = A, slot: int = -1) -> bytes:
    key = ordinal.to_bytes(16, "big")
    item = MessageSubmitted(conversation, "alice", "phone", bytes(16), ordinal, key, 1, "hi")
    return encode_event(SubmittedRecord(SCHEMA_VERSION, [item], slot))


def send(
    kafka: MemoryKafka, *ordinals: int, conversation: str = A, partition: int = 0, slot: int = -1
) -> None:
    for ordinal in ordinals:
        kafka.broker.append(SUBMITTED, partition, submitted(ordinal, conversation, slot))


def pushed(kafka: MemoryKafka) -> list[int]:
    """The numbers that bob's device was sent, repeats left out."""
    events = delivered(kafka, SLOT)
    return list(dict.fromkeys(event.seq for event in events if isinstance(event, MessageDelivered)))


def logged(kafka: MemoryKafka) -> list[int]:
    """The numbers that a reader of the log gets."""
    position, seqs = -1, []
    for record in kafka.broker.read_all(LOG, 0):
        entry = decode_log(record.value)
        if entry.from_ <= position + 1 and entry.to > position:
            seqs += [item.seq for item in entry.taken if item.offset > position]
            position = entry.to
    return seqs


async def ask(run: Run, path: str, question: Any = None, **query: str) -> Response:
    body = b"" if question is None else msgspec.json.encode(question)
    return await run.worker.api.handle(Request(path, query, body))


async def heads(run: Run) -> Mapping[str, Mapping[str, int]]:
    question = HeadsQuestion("alice", "", "", {0: {}})
    answer = await ask(run, "/sequencer/heads/", [question])
    found: list[Mapping[str, Mapping[str, int]]] = msgspec.json.decode(answer.body)
    return found[0]


async def has(run: Run, conversation: str = A) -> bool | None:
    """Whether there is such a conversation; None if the partition cannot tell."""
    answer = await ask(run, "/sequencer/seqs/", [SeqsQuestion({0: [conversation]})])
    found: list[Mapping[str, Mapping[str, int]]] = msgspec.json.decode(answer.body)
    return conversation in found[0]["0"] if found[0] else None


def said(kafka: MemoryKafka) -> list[Membership | AllSaid]:
    """What `memberships` holds, by its partitions."""
    records = [record for n in (0, 1) for record in kafka.broker.read_all(MEMBERSHIPS, n)]
    return [decode_membership(record.value).fact for record in records]
