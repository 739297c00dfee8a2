"""The outbox on disk: what is in it, whose it is, and what happens when it cannot be used."""

import asyncio
import itertools
import sqlite3
from pathlib import Path

import pytest

from messenger_sdk import (
    Client,
    FolderInUse,
    FolderOfAnother,
    FolderUnreadable,
    MessageReceived,
    SendFailed,
    SendRefused,
    StateChanged,
)
from messenger_sdk.events import Event
from messenger_sdk.outbox import (
    Added,
    Change,
    Finished,
    LaneChanged,
    Numbered,
    Outbox,
    Saved,
    SavedSend,
)
from messenger_sdk.outbox_file import OutboxFile
from schemas import frames
from schemas.codes import Code
from tests.harness.fake_gateway import FakeGateway, Line, eventually, sent

_numbers = itertools.count(1)


def new_id() -> str:
    return f"{next(_numbers):032x}"


def client(gateway: FakeGateway, path: Path) -> Client:
    return Client(gateway.url, "token", "phone", folder=path, jitter=lambda: 0.1, new_id=new_id)


async def never_welcomes(line: Line) -> None:
    await line.stay()


async def takes_all(line: Line) -> None:
    await line.welcome()
    while True:
        (send,) = await line.sends(1)
        await line.say(sent(send, send.ordinal))


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "outbox"
    file = OutboxFile(path)
    assert file.load("box") == Saved("box", [], [])
    file.save(
        [
            Added("k1", "bob", "one"),
            Added("k2", "carol", "two"),
            Added("k3", "bob", "three"),
            Added("k4", "bob", "four"),
        ]
    )
    file.save(
        [Numbered("k1", 1), Numbered("k3", 2), LaneChanged("bob", "box", 3, 7), Finished("k1")]
    )
    file.close()
    file = OutboxFile(path)
    assert file.load("another") == Saved(
        "box",
        [LaneChanged("bob", "box", 3, 7)],
        [
            SavedSend("k2", "carol", "two", 0),
            SavedSend("k3", "bob", "three", 2),
            SavedSend("k4", "bob", "four", 0),
        ],
    )
    file.close()


def test_a_restored_outbox_goes_on_with_its_ordinals_in_a_new_round(tmp_path: Path) -> None:
    file, changes = OutboxFile(tmp_path / "outbox"), list[Change]()
    box = Outbox(new_id, saved=file.load(new_id()), journal=changes.append)
    for number in (1, 2):
        box.add("bob", f"key-{number}", f"body {number}")
    before = box.transmit(0.0)
    box.add("bob", "key-3", "body 3")
    file.save(changes)
    again = Outbox(new_id, saved=file.load(new_id())).transmit(0.0)
    file.close()
    assert [(send.outbox, send.ordinal, send.key, send.body) for send in again[:2]] == [
        (send.outbox, send.ordinal, send.key, send.body) for send in before
    ]
    assert (again[2].ordinal, again[2].key) == (3, "key-3")
    assert again[0].round > before[0].round


async def test_what_was_written_before_a_restart_is_sent_after_it_once_and_in_order(
    tmp_path: Path,
) -> None:
    path, bodies = tmp_path / "outbox", [f"message {number}" for number in range(20)]
    async with FakeGateway(never_welcomes) as gateway, client(gateway, path) as device:
        for body in bodies:
            device.submit("bob", body)
    events: list[Event] = []
    async with FakeGateway(takes_all) as gateway, client(gateway, path) as device:
        assert [send.body for send in device.unanswered()] == bodies

        async def watch() -> None:
            async for event in device.events():
                events.append(event)

        watching = asyncio.create_task(watch())
        await eventually(lambda: not device.unanswered())
        await device.close()
        await watching
    assert [event.body for event in events if isinstance(event, MessageReceived)] == bodies
    file = OutboxFile(path / "outbox.sqlite")
    assert file.load("").sends == []
    file.close()


async def test_a_refusal_of_what_nobody_waits_for_any_more_is_an_event(tmp_path: Path) -> None:
    async def refuses(line: Line) -> None:
        await line.welcome()
        (send,) = await line.sends(1)
        await line.say(
            frames.Refused(
                "alice:bob", send.outbox, send.ordinal, send.key, Code.BODY_INVALID.number, 0
            )
        )
        await line.stay()

    path = tmp_path / "outbox"
    async with FakeGateway(never_welcomes) as gateway, client(gateway, path) as device:
        device.submit("bob", "hi")
    async with FakeGateway(refuses) as gateway, client(gateway, path) as device:
        async for event in device.events():
            if isinstance(event, SendFailed):
                assert (event.to, event.body) == ("bob", "hi")
                assert isinstance(event.error, SendRefused)
                break


async def test_one_process_a_file(tmp_path: Path) -> None:
    file = OutboxFile(tmp_path / "outbox")
    with pytest.raises(FolderInUse, match="another process"):
        OutboxFile(tmp_path / "outbox")
    file.close()
    OutboxFile(tmp_path / "outbox").close()


async def test_anothers_outbox_is_not_sent(tmp_path: Path) -> None:
    file = OutboxFile(tmp_path / "outbox.sqlite")
    assert file.user("bob") == "bob"
    file.close()
    async with FakeGateway(takes_all) as gateway, client(gateway, tmp_path) as device:
        sending = device.submit("carol", "hi")
        with pytest.raises(FolderOfAnother, match="of bob, and this is alice"):
            await asyncio.wait_for(sending, 5)
        assert device.state == "stopped"


def test_what_is_no_outbox_is_refused(tmp_path: Path) -> None:
    (tmp_path / "garbage").write_bytes(b"this is no database" * 100)
    with pytest.raises(FolderUnreadable):
        OutboxFile(tmp_path / "garbage")
    file = OutboxFile(tmp_path / "newer")
    file.close()
    with sqlite3.connect(tmp_path / "newer") as database:
        database.execute("UPDATE about SET value = '2' WHERE name = 'format'")
    database.close()
    with pytest.raises(FolderUnreadable, match="format 2"):
        OutboxFile(tmp_path / "newer")


async def test_a_file_that_fails_stops_the_client_before_anything_leaves(tmp_path: Path) -> None:
    async with FakeGateway(takes_all) as gateway, client(gateway, tmp_path / "outbox") as device:
        await device.send("bob", "before")
        assert device._sends._file is not None
        device._sends._file._database.connection.execute("PRAGMA max_page_count = 1")  # a full disk
        with pytest.raises(FolderUnreadable, match="full"):
            device.submit("bob", "x" * 16_000)
        assert device.state == "stopped"
        events = [event async for event in device.events()]
        assert events[-1] == StateChanged("stopped", 0)
