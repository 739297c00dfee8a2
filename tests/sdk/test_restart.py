"""What a client does with its folder: nothing is sent twice or shown twice over a restart, and
nothing that came meanwhile is left out."""

import asyncio
import itertools
from pathlib import Path

import pytest

from messenger_sdk import (
    Client,
    FolderOfAnother,
    FolderStorage,
    FolderUnreadable,
    MessageReceived,
    SendFailed,
    SendRefused,
    StateChanged,
)
from messenger_sdk.events import Event
from messenger_sdk.storage import Owned
from schemas import frames
from schemas.codes import Code
from schemas.frames import Heads, History, Marks, Message, Page, Read, Received, Sync
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


async def test_what_was_written_before_a_restart_is_sent_after_it_once_and_in_order(
    tmp_path: Path,
) -> None:
    path, bodies = tmp_path / "outbox", [f"message {number}" for number in range(20)]
    async with FakeGateway(never_welcomes) as gateway, client(gateway, path) as device:
        for body in bodies:
            device.submit("bob", body)
    events: list[Event] = []
    async with FakeGateway(takes_all) as gateway, client(gateway, path) as device:
        assert [send.body for send in device.device.unanswered()] == bodies

        async def watch() -> None:
            async for event in device:
                events.append(event)

        watching = asyncio.create_task(watch())
        await eventually(lambda: not device.device.unanswered())
        await device.close()
        await watching
    assert [event.body for event in events if isinstance(event, MessageReceived)] == bodies
    storage = FolderStorage(path)
    assert storage.load().sends == []
    storage.close()


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
        async for event in device:
            if isinstance(event, SendFailed):
                assert (event.to, event.body) == ("bob", "hi")
                assert isinstance(event.error, SendRefused)
                break


async def test_anothers_outbox_is_not_sent(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    await storage.save([Owned("bob")])
    storage.close()
    async with FakeGateway(takes_all) as gateway, client(gateway, tmp_path) as device:
        sending = device.submit("carol", "hi")
        with pytest.raises(FolderOfAnother, match="of bob, and this is alice"):
            await asyncio.wait_for(sending, 5)
        assert device.state == "stopped"


async def test_a_file_that_fails_stops_the_client_before_anything_leaves(tmp_path: Path) -> None:
    async with FakeGateway(takes_all) as gateway, client(gateway, tmp_path / "outbox") as device:
        await device.send("bob", "before")
        storage = device._storage
        assert isinstance(storage, FolderStorage)
        storage._outbox._database.connection.execute("PRAGMA max_page_count = 1")  # a full disk
        with pytest.raises(FolderUnreadable, match="full"):
            await device.send("bob", "x" * 16_000)
        with pytest.raises(FolderUnreadable, match="full"):
            await device.saved()
        assert device.state == "stopped"
        events = [event async for event in device]
        assert events[-1] == StateChanged("stopped", 0)


A, B, C = "alice:bob", "alice:carol", "alice:dave"


def message(conversation: str, seq: int) -> Message:
    return Message(conversation, seq, "bob", f"{seq:032x}", seq, f"{conversation} {seq}")


class Server:
    """Has so many messages of each conversation, and answers what it is asked."""

    def __init__(self, counts: dict[str, int], log: str = "log") -> None:
        self.counts = counts
        self.log = log
        self.told = False
        """The device knows all heads."""

    async def __call__(self, line: Line) -> None:
        await line.welcome(log=self.log)
        while True:
            question = await line.receive()
            if isinstance(question, Sync):
                heads = {
                    name: count
                    for name, count in self.counts.items()
                    if count > question.cursors.get(name, 0)
                }
                await line.say(Heads(question.id, heads))
                self.told = True
            elif isinstance(question, History):
                assert question.after is not None
                name, known = question.conversation, self.counts[question.conversation]
                messages = [message(name, seq) for seq in range(question.after + 1, known + 1)]
                await line.say(Page(question.id, name, known, messages))


async def shown(server: Server, folder: Path, count: int) -> list[tuple[str, int]]:
    """What a device shows from its start on, until it has shown `count` messages."""
    found: list[tuple[str, int]] = []
    async with (
        FakeGateway(server) as gateway,
        Client(gateway.url, "t", "phone", folder=folder, jitter=lambda: 0.1) as phone,
    ):

        async def watch() -> None:
            async for event in phone:
                if isinstance(event, MessageReceived):
                    found.append((event.conversation, event.seq))

        watching = asyncio.create_task(watch())
        await eventually(lambda: server.told and phone.device.begun and len(found) >= count)
        await phone.close()
        await watching
    return sorted(found)


async def test_a_device_goes_on_where_it_was(tmp_path: Path) -> None:
    counts = {A: 3, B: 2}
    assert await shown(Server(counts), tmp_path, 0) == []
    counts |= {A: 5, C: 1}
    assert await shown(Server(counts), tmp_path, 3) == [(A, 4), (A, 5), (C, 1)]
    counts[B] = 3
    assert await shown(Server(counts), tmp_path, 1) == [(B, 3)]
    assert await shown(Server(counts), tmp_path, 0) == []


async def test_a_receipt_that_was_lost_before_the_end_is_said_after_the_next_start(
    tmp_path: Path,
) -> None:
    receipts: list[Received | Read] = []
    own = Message(B, 1, "alice", "00", 1, "mine")

    async def script(line: Line) -> None:
        line.receipts = receipts
        await line.welcome()
        while True:
            if isinstance(question := await line.receive(), Sync):
                await line.say(Heads(question.id, {}), message(A, 1), own)

    async def script_again(line: Line) -> None:
        line.receipts = receipts
        await line.welcome()
        answering = asyncio.create_task(line.stay())
        while not line.asked_marks:
            await asyncio.sleep(0.01)
        await line.say(Marks(line.asked_marks[0].id, []))
        await answering

    for lost, each in enumerate((script, script_again)):
        async with (
            FakeGateway(each) as gateway,
            Client(gateway.url, "t", "phone", folder=tmp_path) as phone,
        ):
            watching = asyncio.create_task(collect(phone))
            await eventually(
                lambda: (
                    {str(receipt) for receipt in receipts} == {str(Received(A, 1)), str(Read(B, 1))}
                )
            )
            assert phone.device.unread(B) == 0
            await phone.close()
            assert await watching == 2 * (1 - lost)
        receipts.clear()


async def test_what_was_read_and_not_heard_of_is_said_after_the_next_start(tmp_path: Path) -> None:
    assert await shown(Server({A: 3}), tmp_path, 0) == []
    async with Client("http://127.0.0.1:9", "t", "phone", folder=tmp_path) as phone:
        phone.read(A, 3)
    receipts: list[Received | Read] = []

    async def script(line: Line) -> None:
        line.receipts = receipts
        await line.welcome(log="log")
        answering = asyncio.create_task(line.stay())
        await eventually(lambda: bool(line.asked_marks))
        await line.say(Marks(line.asked_marks[0].id, []))
        await answering

    async with (
        FakeGateway(script) as gateway,
        Client(gateway.url, "t", "phone", folder=tmp_path) as phone,
    ):
        await eventually(lambda: Read(A, 3) in receipts)
        assert phone.device.unread(A) == 0


async def collect(phone: Client) -> int:
    return len([event async for event in phone if isinstance(event, MessageReceived)])


async def test_another_log_is_another_beginning(tmp_path: Path) -> None:
    assert await shown(Server({A: 9}), tmp_path, 0) == []
    counts = {A: 3, B: 1}
    assert await shown(Server(counts, "another"), tmp_path, 0) == []
    counts[A] = 4
    assert await shown(Server(counts, "another"), tmp_path, 1) == [(A, 4)]
