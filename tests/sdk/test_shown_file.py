"""What was shown survives a restart: nothing is shown again, and nothing that came meanwhile is
left out."""

import asyncio
from pathlib import Path

import pytest

from messenger_sdk import Client, FolderInUse, MessageReceived
from messenger_sdk.shown_file import ShownFile
from schemas.frames import Heads, History, Marks, Message, Page, Read, Received, Sync
from tests.harness.fake_gateway import FakeGateway, Line, eventually

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
            async for event in phone.events():
                if isinstance(event, MessageReceived):
                    found.append((event.conversation, event.seq))

        watching = asyncio.create_task(watch())
        await eventually(
            lambda: server.told and phone._receiver.timelines.begun and len(found) >= count
        )
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
            assert phone.unread(B) == 0
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
        assert phone.unread(A) == 0


async def collect(phone: Client) -> int:
    return len([event async for event in phone.events() if isinstance(event, MessageReceived)])


async def test_another_log_is_another_beginning(tmp_path: Path) -> None:
    assert await shown(Server({A: 9}), tmp_path, 0) == []
    counts = {A: 3, B: 1}
    assert await shown(Server(counts, "another"), tmp_path, 0) == []
    counts[A] = 4
    assert await shown(Server(counts, "another"), tmp_path, 1) == [(A, 4)]


def test_what_was_shown_before_the_beginning_counts(tmp_path: Path) -> None:
    file = ShownFile(tmp_path / "shown.sqlite")
    file.save(A, 3, received=True)
    assert file.load() == ("", {}, {}, {})
    file.begin("log", {A: 2, B: 2})
    file.save(A, 4, received=False)
    file.save(B, 1, received=True)
    file.save(B, 2, received=False)
    file.close()
    file = ShownFile(tmp_path / "shown.sqlite")
    assert file.load() == ("log", {A: 4, B: 2}, {A: 3, B: 1}, {A: 4, B: 2})
    file.forget()
    assert file.load() == ("", {}, {}, {})
    file.close()


def test_one_process_a_folder(tmp_path: Path) -> None:
    file = ShownFile(tmp_path / "shown.sqlite")
    with pytest.raises(FolderInUse):
        ShownFile(tmp_path / "shown.sqlite")
    file.close()
