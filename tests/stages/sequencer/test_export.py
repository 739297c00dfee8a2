"""The rows of a snapshot, from the table on the disk."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from schemas.events import SnapshotAnswer, SnapshotConversation, SnapshotOutbox
from streams.tables.rocks import RocksBudget
from streams.tables.sequences import Header, SequenceTable
from tests.harness.sequencing import A


class Counted:
    """A database that counts what its iterators give."""

    def __init__(self, db: Any) -> None:
        self.db = db
        self.given = 0

    def items(self, from_key: bytes) -> Iterator[tuple[bytes, bytes]]:
        for item in self.db.items(from_key=from_key):
            self.given += 1
            yield item


def test_rows_of_a_kind_are_not_sought_among_those_of_others(tmp_path: Path) -> None:
    """To run over all outboxes once more at the end blocked the loop for seconds."""
    table = SequenceTable(tmp_path / "partition-0", RocksBudget(1 << 20, 1 << 20))
    outboxes = [
        SnapshotOutbox(
            A, "ada", bytes([n]) * 16, 1, 1, [SnapshotAnswer(1, bytes([n]) * 16, n, 0, 1)]
        )
        for n in range(1, 9)
    ]
    table.load([SnapshotConversation(A, 8, 1), *outboxes], Header("log", "input"))
    table._db = counted = Counted(table._db)
    assert [row for row in table.rows() if isinstance(row, SnapshotOutbox)] == outboxes
    conversations = 1
    at_the_end_of_each_kind = 3
    assert counted.given == conversations + 2 * len(outboxes) + at_the_end_of_each_kind
    counted.db.close()
