"""What a device keeps over a restart: one suite for the folder and for its twin in memory."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from messenger_sdk import FolderInUse, FolderStorage, FolderUnreadable, MemoryStorage, SavedSend
from messenger_sdk.storage import (
    Added,
    Begun,
    Finished,
    LaneChanged,
    LogBegun,
    LogMet,
    Numbered,
    Owned,
    ReadUpTo,
    ShownUpTo,
    Storage,
    Stored,
)

A, B = "alice:bob", "alice:carol"

Reopen = Callable[[], Storage]


@pytest.fixture(params=["folder", "memory"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reopen]:
    """The storage after a restart; the first call makes it."""
    memory = MemoryStorage()
    opened: list[Storage] = []

    def reopen() -> Storage:
        if opened:
            opened[-1].close()
        opened.append(FolderStorage(tmp_path / "kept") if request.param == "folder" else memory)
        return opened[-1]

    yield reopen
    opened[-1].close()


def test_a_new_storage_holds_nothing(reopen: Reopen) -> None:
    assert reopen().load() == Stored("", "", [], [])


async def test_sends_are_loaded_as_they_were_saved(reopen: Reopen) -> None:
    storage = reopen()
    await storage.save(
        [
            Begun("box"),
            Owned("alice"),
            Added("k1", "bob", "one"),
            Added("k2", "carol", "two"),
            Added("k3", "bob", "three"),
            Added("k4", "bob", "four"),
        ]
    )
    await storage.save(
        [Numbered("k1", 1), Numbered("k3", 2), LaneChanged("bob", "box", 3, 7), Finished("k1")]
    )
    assert reopen().load() == Stored(
        "alice",
        "box",
        [LaneChanged("bob", "box", 3, 7)],
        [
            SavedSend("k2", "carol", "two", 0),
            SavedSend("k3", "bob", "three", 2),
            SavedSend("k4", "bob", "four", 0),
        ],
    )


async def test_notes_never_go_back_and_count_in_their_log(reopen: Reopen) -> None:
    storage = reopen()
    storage.note([LogMet("log"), ShownUpTo(A, 3, own=False)])
    storage = reopen()
    assert storage.load() == Stored("", "", [], [], "log", {A: 3}, {A: 3}, {})
    storage.note([LogBegun({A: 2, B: 2}), ShownUpTo(A, 4, own=True)])
    storage.note([ShownUpTo(B, 1, own=False), ShownUpTo(B, 2, own=True), ReadUpTo(A, 1)])
    storage = reopen()
    assert storage.load() == Stored(
        "", "", [], [], "log", {A: 4, B: 2}, {A: 3, B: 1}, {A: 4, B: 2}, True
    )
    storage.note([LogMet("another")])
    storage = reopen()
    assert storage.load() == Stored("", "", [], [], "another")
    storage.note([LogBegun({B: 1})])
    assert reopen().load() == Stored("", "", [], [], "another", {B: 1}, {}, {}, True)


def test_one_process_a_folder(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    with pytest.raises(FolderInUse, match="another process"):
        FolderStorage(tmp_path)
    storage.close()
    FolderStorage(tmp_path).close()


@pytest.mark.parametrize("name", ["outbox.sqlite", "shown.sqlite"])
def test_a_file_of_something_else_or_of_a_newer_client_is_refused(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "garbage").mkdir()
    (tmp_path / "garbage" / name).write_bytes(b"this is no database" * 100)
    with pytest.raises(FolderUnreadable):
        FolderStorage(tmp_path / "garbage")
    FolderStorage(tmp_path / "newer").close()
    with sqlite3.connect(tmp_path / "newer" / name) as database:
        database.execute("UPDATE about SET value = '2' WHERE name = 'format'")
    database.close()
    with pytest.raises(FolderUnreadable, match="format 2"):
        FolderStorage(tmp_path / "newer")


async def test_changes_are_saved_all_or_none(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    await storage.save([Added("k1", "bob", "one")])
    with pytest.raises(FolderUnreadable):
        await storage.save([Added("k2", "bob", "two"), Added("k1", "bob", "twice")])
    storage.close()
    storage = FolderStorage(tmp_path)
    assert [send.key for send in storage.load().sends] == ["k1"]
    storage.close()


async def test_a_commit_of_the_outbox_does_not_stop_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk can take 100 ms for an fsync, and longer."""
    storage = FolderStorage(tmp_path)
    save = storage._outbox.save

    turned = threading.Event()

    def slowly(changes: list[Added]) -> None:
        assert turned.wait(10), "the loop stands still"
        save(changes)

    monkeypatch.setattr(storage._outbox, "save", slowly)
    asyncio.get_running_loop().call_later(0.01, turned.set)
    await storage.save([Added("k1", "bob", "one")])
    storage.close()
    storage = FolderStorage(tmp_path)
    assert [send.key for send in storage.load().sends] == ["k1"]
    storage.close()
