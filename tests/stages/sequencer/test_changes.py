"""Changes in the sequencer's table and in the pages of a worker (R18)."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from agents.sequencer.snapshot_writer import SnapshotPolicy
from connectors.kafka.memory import MemoryKafka
from schemas.codec import encode_event
from schemas.events import CHANGES_VERSION, Changed, ChangeSubmitted, SubmittedRecord
from schemas.topics import SUBMITTED
from tests.harness.sequencing import A, Make, Run, ask, send
from tests.stages.sequencer.test_snapshots import lose_disk


def change(kafka: MemoryKafka, ordinal: int, seq: int, body: str) -> None:
    key = ordinal.to_bytes(16, "big")
    changes = Changed(seq, seq.to_bytes(16, "big"), 1)
    item = ChangeSubmitted(A, "alice", "phone", bytes(16), ordinal, key, 1, body, changes)
    kafka.broker.append(SUBMITTED, 0, encode_event(SubmittedRecord(CHANGES_VERSION, [item])))


async def shown(run: Run, after: int = 0) -> tuple[int, Sequence[tuple[int, str]]]:
    """The number of the last change, and number and text of each message."""
    page = await ask(run, "/sequencer/page/0/", conversation=A, after=str(after))
    head, *frames = map(msgspec.json.decode, page.body.split(b"\n"))
    for frame in frames:
        assert frame.get("erased", False) == (not frame["body"])
    return head["changed"], [(frame["seq"], frame["body"]) for frame in frames]


async def test_pages_show_the_last_text_and_a_deletion_is_final(
    kafka: MemoryKafka, make: Make
) -> None:
    send(kafka, 1, 2, 3)
    async with make() as run:
        await run.running()
        await run.done(3)
        await ask(run, "/sequencer/page/0/", conversation=A, after="3")  # writes the table
        assert await shown(run) == (0, [(1, "hi"), (2, "hi"), (3, "hi")])
        change(kafka, 4, 1, "first")
        change(kafka, 5, 2, "")
        await run.done(5)
        change(kafka, 6, 1, "second")
        change(kafka, 7, 2, "too late")
        await run.done(7)
        whole = [(1, "second"), (2, ""), (3, "hi"), (4, "second"), (5, ""), (6, "second"), (7, "")]
        assert await shown(run) == (7, whole)
        assert await shown(run, after=5) == (7, whole[5:])
        assert await shown(run, after=7) == (7, [])


async def test_changes_are_found_by_a_worker_that_begins_with_a_snapshot(
    kafka: MemoryKafka, make: Make, tmp_path: Path
) -> None:
    """The snapshot has no changes: they are read from the log, as the places are."""
    send(kafka, 1, 2)
    change(kafka, 3, 1, "new")
    async with make(SnapshotPolicy()) as run:
        await run.running()
        await run.done(3)
        before = await shown(run)
        assert before == (3, [(1, "new"), (2, "hi"), (3, "new")])
        await run.partition.snapshots.write()
    lose_disk(tmp_path)
    async with make() as run:
        await run.running()
        assert await shown(run) == before
