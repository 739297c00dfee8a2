"""What any version of this code ever wrote is still read, and means what it meant."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas import events, worker_api
from streams.tables.changelog import Header as ChangelogHeader
from streams.tables.cursors import CursorTable
from streams.tables.memberships import MembershipTable
from streams.tables.presence import PresenceTable
from streams.tables.rocks import RocksBudget
from streams.tables.sequence_layout import FORMAT
from streams.tables.sequences import Header as SequenceHeader
from streams.tables.sequences import SequenceTable
from tests.golden.keep import BYTES, HEADERS, kept, present

GONE = {"HoldingQuestion", "HoldingAnswer"}
"""What gateways asked of workers once, and ask no more."""
TAKEN = [
    events.Taken(
        *(4, 1000 + ordinal, "alice:bob", "alice", "phone", b"o" * 16, ordinal, b"k" * 16),
        *((ordinal, 0, "hi") if ordinal != 3 else (0, 110, "")),
    )
    for ordinal in range(1, 12)
]


def _read(kind: str, value: bytes) -> Any:
    where, name = kind.split()
    if where == "record":
        return msgspec.msgpack.decode(value, type=getattr(events, name))
    if where == "header":
        return msgspec.msgpack.decode(value, type=HEADERS[name])
    return msgspec.json.decode(value, type=getattr(worker_api, name))


def _has(now: Any, then: Any) -> bool:
    """Whether what is read now has all that was written then. (A field that came later is not in
    what was written; an array has it at its end.)"""
    if isinstance(then, dict):
        return isinstance(now, dict) and all(_has(now[key], then[key]) for key in then)
    if isinstance(then, list):
        return isinstance(now, list) and all(map(_has, now, then)) and len(now) >= len(then)
    return bool(now == then)


def test_what_was_ever_written_is_read_as_ever() -> None:
    for line in kept():
        golden = json.loads(line)
        where, name = golden["kind"].split()
        if name in GONE or where == "contract":
            continue
        decoded = _read(golden["kind"], bytes.fromhex(golden["hex"]))
        now = json.loads(msgspec.json.encode(decoded))
        assert _has(now, golden["decoded"]), golden


def test_what_is_written_now_is_kept() -> None:
    """If not: python -m tests.golden, and commit what it adds."""
    missing = set(present()) - set(kept())
    assert not missing, "python -m tests.golden keeps it"


def _sequences(folder: Path) -> SequenceTable:
    table = SequenceTable(folder, RocksBudget(1 << 20, 1 << 20))
    header = SequenceHeader("log", "input", 7, 8, 9, 10, 11, 1011, 1, 5, 6, FORMAT, "members")
    table.write([(7, TAKEN)], header)
    return table


def _cursors(folder: Path) -> CursorTable:
    table = CursorTable(folder, RocksBudget(1 << 20, 1 << 20))
    table.write({("alice:bob", "bob", "phone"): (3, 1000)}, ChangelogHeader("topic", 4, "input"))
    return table


def _presence(folder: Path) -> PresenceTable:
    table = PresenceTable(folder, RocksBudget(1 << 20, 1 << 20))
    state = events.PresenceState(1, "alice", ("node",), 0, "topic", 3)
    table.write({"alice": state}, ChangelogHeader("topic", 4, "input"))
    return table


def _memberships(folder: Path) -> MembershipTable:
    table = MembershipTable(folder, RocksBudget(1 << 20, 1 << 20))
    facts: list[events.Membership | events.AllSaid] = [
        events.Membership("alice", 3),
        events.AllSaid(3, "topic"),
    ]
    table.write(facts, ChangelogHeader("topic", 4, "input"))
    return table


@pytest.mark.parametrize("make", [_sequences, _cursors, _presence, _memberships])
def test_a_table_has_the_rows_it_ever_had(make: Callable[[Path], Any], tmp_path: Path) -> None:
    """Rows that change make every worker's state unreadable: they need a new FORMAT, or a new name
    of the folder."""
    table = make(tmp_path / "table")
    rows = {key.hex(): value.hex() for key, value in table._db.items() if key != b"h"}
    table.close()
    golden = json.loads((BYTES / f"table{make.__name__}.json").read_text())
    assert rows == golden
