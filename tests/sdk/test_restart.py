"""What a client does with its storage: nothing is sent or shown twice over a restart, and nothing
that came meanwhile is left out."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from messenger_sdk import (
    FolderOfAnother,
    FolderStorage,
    FolderUnreadable,
    MemoryStorage,
    MessageReceived,
    SendFailed,
    SendRefused,
    StateChanged,
)
from messenger_sdk.storage import Change, Note, Owned
from schemas import frames
from schemas.codes import Code
from schemas.frames import Heads, History, Marks, Read, Received, Sync
from tests.harness.fake_gateway import FakeGateway, Line, eventually, sent
from tests.harness.virtual import virtual_time
from tests.sdk.devices import A, B, C, client, message, seqs, watched


async def never_welcomes(line: Line) -> None:
    await line.stay()


async def takes_all(line: Line) -> None:
    await line.welcome()
    while True:
        (send,) = await line.sends(1)
        line.say(sent(send, send.ordinal))


@virtual_time
async def test_what_was_written_before_a_restart_is_sent_after_it_once_and_in_order(
    tmp_path: Path,
) -> None:
    bodies = [f"message {number}" for number in range(20)]
    async with FakeGateway(never_welcomes) as gateway, client(gateway, tmp_path) as device:
        for body in bodies:
            device.submit("bob", body)
        await device.saved()
    async with FakeGateway(takes_all) as gateway:
        device = client(gateway, tmp_path)
        assert [send.body for send in device.device.unanswered()] == bodies
        async with watched(device) as events:
            await eventually(lambda: not device.device.unanswered())
    assert [event.body for event in events if isinstance(event, MessageReceived)] == bodies
    storage = FolderStorage(tmp_path)
    assert storage.load().sends == []
    storage.close()


@virtual_time
async def test_a_refusal_of_what_nobody_waits_for_any_more_is_an_event() -> None:
    async def refuses(line: Line) -> None:
        await line.welcome()
        (send,) = await line.sends(1)
        named = A, send.outbox, send.ordinal, send.key
        line.say(frames.Refused(*named, Code.BODY_INVALID.number, 0))
        await line.stay()

    storage = MemoryStorage()
    async with FakeGateway(never_welcomes) as gateway, client(gateway, storage=storage) as device:
        device.submit("bob", "hi")
        await device.saved()
    async with FakeGateway(refuses) as gateway, client(gateway, storage=storage) as device:
        async for event in device:
            if isinstance(event, SendFailed):
                assert (event.to, event.body) == ("bob", "hi")
                assert isinstance(event.error, SendRefused)
                break


@virtual_time
async def test_what_is_another_user_s_is_not_sent() -> None:
    storage = MemoryStorage()
    await storage.save([Owned("bob")])
    async with FakeGateway(takes_all) as gateway, client(gateway, storage=storage) as device:
        with pytest.raises(FolderOfAnother, match="of bob, and this is alice"):
            await device.send("carol", "hi")
        assert device.state == "stopped"
        assert gateway.lines[0].up.empty()


class FullDisk(MemoryStorage):
    """It takes nothing any more when it is `full`."""

    full = False

    async def save(self, changes: Sequence[Change]) -> None:
        self._check()
        await super().save(changes)

    def note(self, notes: Sequence[Note]) -> None:
        if notes:
            self._check()
        super().note(notes)

    def _check(self) -> None:
        if self.full:
            raise FolderUnreadable("the disk is full")


@virtual_time
async def test_a_disk_that_is_full_stops_the_client_before_anything_leaves() -> None:
    storage = FullDisk()
    async with FakeGateway(takes_all) as gateway, client(gateway, storage=storage) as device:
        await device.send("bob", "before")
        storage.full = True
        for waiting in (device.send("bob", "more"), device.saved()):
            with pytest.raises(FolderUnreadable, match="full"):
                await waiting
        assert device.state == "stopped"
        assert [event async for event in device][-1] == StateChanged("stopped", 0)


@pytest.mark.parametrize("read", [False, True], ids=["shown", "read"])
@virtual_time
async def test_what_cannot_be_noted_stops_the_client(read: bool) -> None:
    async def script(line: Line) -> None:
        await line.welcome()
        line.say(message(1), message(2))
        await line.stay()

    storage = FullDisk()
    async with FakeGateway(script) as gateway, client(gateway, storage=storage) as device:
        async for event in device:
            if isinstance(event, MessageReceived):
                break
        storage.full = True
        if read:
            with pytest.raises(FolderUnreadable):
                device.read(A, 1)
        else:
            with pytest.raises(FolderUnreadable):
                await anext(device)
        assert device.state == "stopped"
    assert gateway.lines[0].receipts == []


class Server:
    """Has so many messages of each conversation, and answers what it is asked."""

    def __init__(self, counts: dict[str, int], log: str = "log") -> None:
        self.counts = counts
        self.log = log

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
                line.say(Heads(question.id, heads))
            elif isinstance(question, History):
                assert question.after is not None
                name, known = question.conversation, self.counts[question.conversation]
                messages = [
                    message(seq, conversation=name) for seq in range(question.after + 1, known + 1)
                ]
                line.say(frames.Page(question.id, name, known, messages))


async def shown(server: Server, folder: Path) -> list[tuple[str, int]]:
    """What a device shows from its start until it has caught up."""
    async with FakeGateway(server) as gateway:
        device = client(gateway, folder)
        async with watched(device) as events:
            await device.caught_up()
    messages = [event for event in events if isinstance(event, MessageReceived)]
    return sorted((event.conversation, event.seq) for event in messages)


@virtual_time
async def test_a_device_goes_on_where_it_was(tmp_path: Path) -> None:
    counts = {A: 3, B: 2}
    assert await shown(Server(counts), tmp_path) == []
    counts |= {A: 5, C: 1}
    assert await shown(Server(counts), tmp_path) == [(A, 4), (A, 5), (C, 1)]
    counts[B] = 3
    assert await shown(Server(counts), tmp_path) == [(B, 3)]
    assert await shown(Server(counts), tmp_path) == []


@virtual_time
async def test_a_device_that_ends_before_its_first_heads_goes_on_after_what_it_has_shown(
    tmp_path: Path,
) -> None:
    async def script(line: Line) -> None:
        await line.welcome(log="log")
        line.say(message(7))
        await line.stay()

    async with FakeGateway(script) as gateway, watched(client(gateway, tmp_path)) as events:
        await eventually(lambda: seqs(events) == [7])
    assert await shown(Server({A: 9, B: 2}), tmp_path) == [(A, 8), (A, 9)]
    assert await shown(Server({A: 9, B: 3}), tmp_path) == [(B, 3)]


@virtual_time
async def test_another_log_is_another_beginning(tmp_path: Path) -> None:
    assert await shown(Server({A: 9}), tmp_path) == []
    counts = {A: 3, B: 1}
    assert await shown(Server(counts, "another"), tmp_path) == []
    counts[A] = 4
    assert await shown(Server(counts, "another"), tmp_path) == [(A, 4)]


@virtual_time
async def test_a_receipt_that_was_lost_before_the_end_is_said_after_the_next_start(
    tmp_path: Path,
) -> None:
    own = message(1, "mine", "alice", conversation=B)

    async def script(line: Line) -> None:
        await line.welcome()
        while True:
            question = await line.receive()
            if isinstance(question, Sync):
                line.say(Heads(question.id, {}), *((message(1), own) if not again else ()))
            if line.asked_marks:
                line.say(Marks(line.asked_marks.pop().id, []))

    for again in (False, True):
        async with FakeGateway(script) as gateway:
            device = client(gateway, tmp_path)
            async with watched(device) as events:
                await eventually(
                    lambda: (
                        bool(gateway.lines)
                        and {str(receipt) for receipt in gateway.lines[0].receipts}
                        == {str(Received(A, 1)), str(Read(B, 1))}
                    )
                )
                assert device.device.unread(B) == 0
            found = [event for event in events if isinstance(event, MessageReceived)]
            assert len(found) == (0 if again else 2)


@virtual_time
async def test_what_was_read_while_away_is_said_after_the_next_start(tmp_path: Path) -> None:
    assert await shown(Server({A: 3}), tmp_path) == []
    async with FakeGateway(never_welcomes) as gateway, client(gateway, tmp_path) as phone:
        phone.read(A, 3)

    async def script(line: Line) -> None:
        await line.welcome(log="log")
        while True:
            await line.receive()
            if line.asked_marks:
                line.say(Marks(line.asked_marks.pop().id, []))

    async with FakeGateway(script) as gateway, client(gateway, tmp_path) as phone:
        await eventually(lambda: bool(gateway.lines) and Read(A, 3) in gateway.lines[0].receipts)
        assert phone.device.unread(A) == 0
