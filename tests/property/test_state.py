"""The table in RocksDB, and one that is made from its snapshot, know what the same state in memory
knows, wherever the writes are cut."""

import itertools
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from agents.rules.fold_view import InMemoryFoldView
from schemas.events import SnapshotConversation, SnapshotOutbox, Taken
from schemas.frames import OUTBOX_WINDOW
from streams.tables.rocks import RocksBudget
from streams.tables.sequences import Header, SequenceTable

OUTBOXES = [
    ("alice:bob", "alice", b"1" * 16),
    ("alice:bob", "bob", b"1" * 16),
    ("alice:carol", "alice", b"2" * 16),
]

steps = st.lists(
    st.tuples(
        st.integers(0, len(OUTBOXES) - 1),
        st.integers(1, 2 * OUTBOX_WINDOW + 20),  # ordinals taken one after the other
        st.booleans(),  # forgotten before: ordinals begin at 1 again
        st.booleans(),  # written after
    ),
    max_size=12,
)


@given(steps, st.integers(1, 50), st.integers(1, 7))
def test_the_table_and_its_snapshot_equal_the_memory(
    steps: list[tuple[int, int, bool, bool]], record_size: int, chunk: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        budget = RocksBudget(1 << 20, 1 << 20)
        table = SequenceTable(Path(folder) / "state", budget)
        restored = SequenceTable(Path(folder) / "restored", budget)
        memory = InMemoryFoldView()
        records: list[tuple[int, list[Taken]]] = []
        time = offset = 0
        for which, count, forgotten, written in steps:
            conversation, sender, outbox = OUTBOXES[which]
            last = memory.last(OUTBOXES[which])
            begin = 1 if forgotten or last is None else last.ordinal + 1
            taken = []
            for ordinal in range(begin, begin + count):
                time += 1
                seq = 0 if time % 7 == 0 else memory.seq(conversation) + 1
                key = time.to_bytes(16, "big")
                item = Taken(
                    time,
                    time,
                    conversation,
                    sender,
                    "d",
                    outbox,
                    ordinal,
                    key,
                    seq,
                    0 if seq else 131,
                    "",
                )
                memory.take([item])
                taken.append(item)
            for cut in range(0, count, record_size):
                records.append((offset, taken[cut : cut + record_size]))
                offset += 1
            if written:
                table.write(records, Header("log", "input"))
                records = []
        table.write(records, Header("log", "input"))
        rows = list(table.rows())
        for first in range(0, len(rows), chunk):
            restored.load(rows[first : first + chunk])
        restored.load((), table.header)
        try:
            for one, name in itertools.product((table, restored), OUTBOXES):
                last = memory.last(name)
                assert one.newest(name[0]) == table.newest(name[0])
                assert one.seq(name[0]) == memory.seq(name[0])
                assert one.last(name) == last
                if last is not None:
                    for ordinal in range(
                        max(1, last.ordinal - OUTBOX_WINDOW + 1), last.ordinal + 1
                    ):
                        assert one.answer(name, ordinal) == memory.answer(name, ordinal)
            assert list(restored.rows()) == rows
            assert list(restored.users()) == list(table.users())
        finally:
            table.close()
            restored.close()


def taken(seq: int) -> Taken:
    key = seq.to_bytes(16, "big")
    return Taken(seq, seq, "alice:bob", "alice", "d", b"o" * 16, seq, key, seq, 0, "")


def test_rows_are_of_one_moment_and_without_a_header_they_are_nobodys_state() -> None:
    with tempfile.TemporaryDirectory() as folder:
        table = SequenceTable(Path(folder) / "state", RocksBudget(1 << 20, 1 << 20))
        table.write([(0, [taken(1)])], Header("log", "input", log_offset=0))
        rows = table.rows()
        table.write([(1, [taken(2)])], Header("log", "input", log_offset=1))
        conversation, outbox = rows
        assert isinstance(conversation, SnapshotConversation)
        assert isinstance(outbox, SnapshotOutbox)
        assert (conversation.seq, outbox.ordinal, len(outbox.answers)) == (1, 1, 1)
        other = SequenceTable(Path(folder) / "other", RocksBudget(1 << 20, 1 << 20))
        other.load([conversation, outbox])
        other.close()
        other = SequenceTable(Path(folder) / "other", RocksBudget(1 << 20, 1 << 20))
        assert other.header is None
        table.close()
        other.close()


def test_counters_are_those_of_their_header_whatever_is_written_meanwhile() -> None:
    with tempfile.TemporaryDirectory() as folder:
        table = SequenceTable(Path(folder) / "state", RocksBudget(1 << 20, 1 << 20))
        table.write([(0, [taken(1)])], Header("log", "input", log_offset=0))
        header, counters = table.counters()
        table.write([(1, [taken(2)])], Header("log", "input", log_offset=1))
        assert (header and header.log_offset, list(counters)) == (0, [("alice:bob", 1)])
        table.close()
