"""Databases: RocksDB and its twin in memory answer the same after the same writes."""

import random
from pathlib import Path
from typing import Any

import pytest

from streams.tables.memory import MemoryDisk
from streams.tables.rocks import Disk, RocksBudget


def _key(chance: random.Random) -> bytes:
    return bytes(chance.choice(b"ab\0\xff") for _ in range(chance.randint(1, 3)))


def _view(database: Any, chance: random.Random) -> list[object]:
    start = _key(chance)
    return [
        [database.get(_key(chance)) for _ in range(3)],
        list(database.keys(from_key=start)),
        list(database.keys(backwards=True, from_key=start)),
        list(database.items(from_key=start)),
    ]


def _history(disk: Disk, folder: Path, seed: int) -> list[object]:
    chance = random.Random(seed)
    database = disk.open(folder)
    seen: list[object] = []
    for _ in range(20):
        batch = disk.batch()
        for _ in range(chance.randint(1, 4)):
            if chance.random() < 0.7:
                batch.put(_key(chance), bytes([chance.randrange(256)]))
            else:
                batch.delete(_key(chance))
        seen.append(len(batch))
        database.write(batch)
        seen += _view(database, chance)
        if chance.random() < 0.2:
            database.flush(True)
            database.close()
            if chance.random() < 0.3:
                disk.destroy(folder)
            database = disk.open(folder)
            seen += _view(database, chance)
    database.close()
    return seen


@pytest.mark.parametrize("seed", range(10))
def test_the_database_in_memory_is_like_rocksdb(tmp_path: Path, seed: int) -> None:
    real = _history(RocksBudget(1 << 20, 1 << 20), tmp_path / "real", seed)
    assert _history(MemoryDisk(), tmp_path / "memory", seed) == real


@pytest.mark.parametrize("kind", ["memory", "real"])
def test_an_iterator_shows_what_was_there_when_it_was_made(tmp_path: Path, kind: str) -> None:
    disk: Disk = MemoryDisk() if kind == "memory" else RocksBudget(1 << 20, 1 << 20)
    database = disk.open(tmp_path / "database")

    def write(value: bytes) -> None:
        batch = disk.batch()
        for key in (b"a", b"b", b"c"):
            batch.put(key, value)
        batch.delete(b"d") if value == b"2" else batch.put(b"d", value)
        database.write(batch)

    write(b"1")
    items, backwards = database.items(from_key=b"b"), database.keys(backwards=True, from_key=b"c")
    assert next(items) == (b"b", b"1")
    write(b"2")
    write(b"3")
    assert list(items) == [(b"c", b"1"), (b"d", b"1")]
    assert list(backwards) == [b"c", b"b", b"a"]
    assert list(database.items(from_key=b"c")) == [(b"c", b"3"), (b"d", b"3")]
    del items, backwards
    database.close()


def test_after_a_kill_a_database_is_an_earlier_state() -> None:
    ends = set()
    for seed in range(30):
        disk, folder = MemoryDisk(), Path("folder")
        database = disk.open(folder)
        for number in range(3):
            batch = disk.batch()
            batch.put(b"number", b"%d" % number)
            if number == 2:
                batch.put(b"last", b"")
            database.write(batch)
            if number == 0:
                database.flush()
        disk.crash(random.Random(seed))
        found = dict(disk.open(folder).items())
        ends.add((found.pop(b"number"), b"last" in found))
    assert ends == {(b"0", False), (b"1", False), (b"2", True)}
