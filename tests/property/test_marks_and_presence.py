"""Cursors and presence: whatever is repeated, reordered or folded again, the end is the same."""

import random
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from agents.rules import cursors, presence
from schemas.events import READ, RECEIVED, DeviceForgotten, PresenceChange, Receipt
from streams.tables.cursors import CursorTable
from streams.tables.memory import MemoryDisk
from streams.tables.presence import PresenceTable
from streams.tables.rocks import RocksBudget

A, B = "alice:bob", "alice:carol"
devices, seqs = st.sampled_from(["p", "q"]), st.integers(1, 9)
receipts = st.lists(
    st.builds(Receipt, st.sampled_from([A, B]), st.just("alice"), devices, seqs, st.booleans()),
    max_size=30,
)


class Cursors(CursorTable):
    """A table on a disk of its own."""

    def __init__(self) -> None:
        super().__init__(Path("table"), MemoryDisk())

    def fold(
        self, items: Sequence[Receipt | DeviceForgotten], cut: int = 5
    ) -> list[tuple[str, str]]:
        """Fold some at a time; what is to be told."""
        told: list[tuple[str, str]] = []
        for start in range(0, len(items), cut):
            outcome = cursors.Outcome({}, {}, [])
            cursors.fold_receipts(self, ((item, 1) for item in items[start : start + cut]), outcome)
            for cursor, value in outcome.changed.items():
                assert not value.seq or value.seq > self.get(cursor)[0], "never backwards"
            self.write(outcome.changed)
            told += outcome.published
        return told

    def seqs(self) -> dict[cursors.CursorId, int]:
        keys = [key for key in self._db.keys(from_key=b"c") if key.startswith(b"c")]
        names = [key[1:].decode().split("\0") for key in keys]
        return {
            (name, user, device): self.get((name, user, device))[0] for name, user, device in names
        }


@given(receipts, st.integers(1, 7), st.randoms(use_true_random=False))
def test_receipts_come_to_the_same_in_any_order_and_however_often(
    items: list[Receipt], cut: int, chance: random.Random
) -> None:
    once, often = Cursors(), Cursors()
    once.fold(list(items), cut)
    shuffled = [*items, *chance.sample(items, len(items) // 2)]
    chance.shuffle(shuffled)
    often.fold(list(shuffled), 3)
    assert once.seqs() == often.seqs()
    for name in (A, B):
        read = [item.seq for item in items if item.read and item.conversation == name]
        seen = [item.seq for item in items if item.conversation == name]
        assert once.get((name, "alice", READ))[0] == max(read, default=0)
        assert once.get((name, "alice", RECEIVED))[0] == max(seen, default=0)


def test_an_equal_receipt_is_told_again_and_a_lower_one_is_not() -> None:
    known = Cursors()
    assert known.fold([Receipt(A, "alice", "p", 5, False)]) == [(A, "alice")]
    assert known.fold([Receipt(A, "alice", "q", 5, False)]) == [(A, "alice")]
    assert known.fold([Receipt(A, "alice", "p", 4, False)]) == []


def test_a_forgotten_device_takes_nothing_back() -> None:
    known = Cursors()
    known.fold(
        [
            Receipt(A, "alice", "p", 5, True),
            Receipt(A, "alice", "q", 3, True),
            DeviceForgotten("alice", "p"),
        ]
    )
    assert known.get((A, "alice", "p")) == (0, 0)
    assert known.get((A, "alice", READ))[0] == 5
    assert known.get((A, "alice", "q"))[0] == 3


@given(receipts, st.booleans())
def test_the_table_of_cursors_equals_the_memory(items: list[Receipt], forget: bool) -> None:
    facts: list[Receipt | DeviceForgotten] = [
        *items,
        *([DeviceForgotten("alice", "p")] if forget else []),
    ]
    memory = Cursors()
    memory.fold(facts)
    with tempfile.TemporaryDirectory() as folder:
        table = CursorTable(Path(folder) / "t", RocksBudget(1 << 20, 1 << 20))
        for fact in facts:
            outcome = cursors.Outcome({}, {}, [])
            cursors.fold_receipts(table, [(fact, 1)], outcome)
            table.write(outcome.changed)
        for name in (A, B):
            for device in (RECEIVED, READ, "p", "q"):
                assert table.get((name, "alice", device)) == memory.get((name, "alice", device))
        assert set(table.devices("alice")) == {
            cursor[2] for cursor in memory.seqs() if cursor[2] in ("p", "q")
        }
        table.close()


class Users(PresenceTable):
    """A table on a disk of its own."""

    def __init__(self) -> None:
        super().__init__(Path("table"), MemoryDisk())

    def apply(self, outcome: presence.Outcome) -> None:
        for user in outcome.published:
            before, after = self.state(user), outcome.changed[user]
            came_or_went = (before is not None and before.online) != after.online
            assert came_or_went or after.online, "told only what is news, or said again"
        self.write(outcome.changed)


changes = st.lists(
    st.builds(
        PresenceChange,
        st.sampled_from(["alice", "bob"]),
        st.sampled_from(["n1", "n2"]),
        st.booleans(),
    ),
    max_size=30,
)


@given(changes, st.sets(st.sampled_from(["n1", "n2"])))
def test_a_user_is_online_while_any_living_node_says_so(
    items: list[PresenceChange], dead: set[str]
) -> None:
    users = Users()
    with tempfile.TemporaryDirectory() as folder:
        table = PresenceTable(Path(folder) / "t", RocksBudget(1 << 20, 1 << 20))
        time = 0
        for item in (item for item in items for _ in range(2)):  # each is said twice
            time += 1
            outcome = presence.Outcome({}, set())
            presence.fold_presence(users, [presence.NodeChange(item, time, time)], "input", outcome)
            users.apply(outcome)
            table.write(outcome.changed)
        for node in dead:
            time += 1
            outcome = presence.Outcome({}, set())
            presence.node_gone(users, table.users_of(node, 1000), node, time, outcome)
            users.apply(outcome)
            table.write(outcome.changed)
        for user in ("alice", "bob"):
            said = {item.node: item.online for item in items if item.user == user}
            online = {node for node, is_online in said.items() if is_online and node not in dead}
            now = users.state(user)
            assert (now is not None and now.online) == bool(online)
            was_online = any(item.online for item in items if item.user == user)
            assert online or (now is not None and now.last_seen > 0) == was_online
            assert table.state(user) == now
        assert list(table.nodes()) == list(users.nodes())
        assert all(
            table.users_of(node, 1000) == users.users_of(node, 1000) for node in ("n1", "n2")
        )
        table.close()
