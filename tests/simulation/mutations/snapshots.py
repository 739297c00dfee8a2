"""R8: the state outlives the log."""

import random
from collections.abc import Generator
from typing import Any

import agents.sequencer.restore
import agents.sequencer.snapshot_reading
import agents.sequencer.snapshot_writer
from schemas.events import SnapshotConversation, SnapshotRow
from simulation.history import Step
from streams.tables.sequences import SequenceTable
from tests.simulation.mutations.mutation import Mutation
from tests.simulation.mutations.openings import AWAY_12, ignored, sends

_rows = SequenceTable.rows


def _without_outboxes(self: Any) -> Generator[SnapshotRow]:
    yield from (row for row in _rows(self) if isinstance(row, SnapshotConversation))


def _expires(wait: float) -> list[Step]:
    return [Step(wait, "expire log", partition, 0) for partition in (0, 1)]


def _lost(chance: random.Random) -> list[Step]:
    """The log's head expires, then all disks are lost; people talk before and after."""
    return [
        *sends(chance, 8),
        *_expires(12.0),
        *sends(chance, 4),
        Step(1.0, "lose all disks", 0, 0),
        *sends(chance, 8),
    ]


def _damaged(chance: random.Random) -> list[Step]:
    """There are two snapshots, of which the newer is damaged; then the disks are lost."""
    return [
        *sends(chance, 8),
        Step(12.0, "send", 0, 0),
        *sends(chance, 8),
        Step(25.0, "send", 0, 0),
        *(Step(0.0, "damage snapshot", n, chance.randrange(1000)) for n in (0, 1)),
        *_expires(0.5),
        Step(0.5, "lose all disks", 0, 0),
        *sends(chance, 8),
    ]


def _old_disk(chance: random.Random) -> list[Step]:
    """A worker sleeps while the log, which it had folded, expires."""
    return [
        *sends(chance, 8),
        Step(7.0, "pause worker", chance.randrange(2), AWAY_12),
        Step(5.0, "send", 0, 0),
        *sends(chance, 8),
        *_expires(6.0),
        *sends(chance, 8),
    ]


MUTATIONS = [
    Mutation(
        "snapshots lack outboxes",
        "R8.1",
        "a snapshot is not the whole fold",
        [(SequenceTable, "rows", _without_outboxes)],
        {"expire_log": 20, "lose_all_disks": 10, "send": 30, "kill_gateway": 8},
        opening=_lost,
    ),
    Mutation(
        "chunks are not checked",
        "R8.4",
        "a chunk that is damaged is believed, if it can be decoded",
        [
            (agents.sequencer.snapshot_reading, "chunk_damaged", lambda *_: None),
            (agents.sequencer.snapshot_reading, "_verify", ignored),
        ],
        {"damage_snapshot": 10, "lose_all_disks": 10, "send": 30},
        opening=_damaged,
    ),
    Mutation(
        "no snapshot is used",
        "R8.3",
        "a partition begins with its disk or with the whole log",
        [(agents.sequencer.restore, "newest_usable", lambda *_: (None, {}))],
        {"expire_log": 20, "lose_disk": 10, "send": 20},
        opening=_lost,
    ),
    Mutation(
        "a disk is believed that the log does not continue",
        "R8.3",
        "a partition begins with its disk, whatever the log lacks",
        [(agents.sequencer.restore, "cannot_rebuild", ignored)],
        {"expire_log": 20, "pause_worker": 20, "send": 30},
        opening=_old_disk,
    ),
    Mutation(
        "a damaged snapshot halts",
        "R8.3",
        "the newest snapshot is taken, and no other",
        [
            (
                agents.sequencer.snapshot_reading,
                "newest_first",
                lambda found: sorted(found, key=lambda one: -one.record.log_offset)[:1],
            )
        ],
        {"damage_snapshot": 10, "lose_all_disks": 10, "expire_log": 10, "send": 30},
        opening=_damaged,
    ),
    Mutation(
        "no snapshot is due",
        "R8.6",
        "none is written",
        [(agents.sequencer.snapshot_writer, "is_due", lambda *_: False)],
        {},
    ),
]
