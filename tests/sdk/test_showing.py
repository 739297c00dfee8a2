"""What the application of a client gets to see; the vectors hold what the device does."""

import asyncio

from messenger_sdk import (
    MarksChanged,
    MemoryStorage,
    MessageReceived,
    PresenceChanged,
    StateChanged,
)
from messenger_sdk.event_queue import EventQueue
from messenger_sdk.inbox import MAX_UNSHOWN
from schemas import frames
from schemas.frames import MAX_PAGE_MESSAGES, Heads, History, Read, Received, Sync
from tests.harness.fake_gateway import FakeGateway, Line, eventually
from tests.harness.virtual import virtual_time
from tests.sdk.devices import A, client, message, page, seqs, watched


@virtual_time
async def test_what_was_missed_while_away_is_shown_after_coming_back() -> None:
    async def script(line: Line) -> None:
        sync = await line.welcome_and_sync()
        if line.number == 0:
            assert sync.cursors == {}
            line.say(message(1), message(2), Heads(sync.id, {A: 2, "alice:zoe": 4}))
            line.drop()
            return
        assert sync.cursors == {A: 2, "alice:zoe": 4}
        line.say(message(205))  # while it catches up
        line.say(Heads(sync.id, {A: 204}))
        for first in (3, 103, 203):
            asked = await line.asked()
            assert asked.after == first - 1
            line.say(page(asked, 204, *range(first, min(first + 100, 205))))
        await line.stay()

    device_shows = list(range(1, 206))
    async with FakeGateway(script) as gateway:
        device = client(gateway)
        async with watched(device) as events:
            await eventually(lambda: seqs(events)[-1:] == [205])
            await device.caught_up()
            assert seqs(events) == device_shows


class Backlog:
    """A gateway with `count` messages, which answers what it is asked and counts what it gave."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.given = 0

    async def __call__(self, line: Line) -> None:
        await line.welcome()
        while True:
            asked = await line.receive()
            if isinstance(asked, Sync):
                line.say(Heads(asked.id, {A: self.count}))
            elif isinstance(asked, History):
                assert asked.after is not None
                last = min(asked.after + MAX_PAGE_MESSAGES, self.count)
                self.given += last - asked.after
                line.say(page(asked, self.count, *range(asked.after + 1, last + 1)))


@virtual_time
async def test_an_application_that_reads_slowly_is_not_flooded_and_gets_all_100_000() -> None:
    """Once the client dropped the oldest events beyond 10,000, and saved the next as shown."""
    backlog, storage, shown = Backlog(100_000), MemoryStorage(), 0
    async with FakeGateway(backlog) as gateway:
        await begin(storage, gateway)
        async with client(gateway, storage=storage) as device:
            async for event in device:
                if not isinstance(event, MessageReceived):
                    continue
                shown += 1
                assert (event.seq, event.missing) == (shown, 0)
                assert backlog.given - shown <= MAX_UNSHOWN
                if shown % 100 == 0:
                    await asyncio.sleep(0.1)  # so slow
                if shown == 50_000:  # the newest is pushed: it would be the 50,001st to be shown
                    gateway.lines[-1].say(message(backlog.count))
                if shown == backlog.count:
                    break
            await device.caught_up()
    assert storage.load().shown == {A: backlog.count - 1}, "the last was not asked to be followed"


@virtual_time
async def test_an_application_that_reads_nothing_holds_a_bounded_number_of_events() -> None:
    async def script(line: Line) -> None:
        await line.welcome()
        for seq in range(1, 5000):
            line.say(message(seq), frames.Mark(A, "bob", seq, seq, 0, 0))
            if seq % 100 == 0:
                await asyncio.sleep(0.001)
        await line.stay()

    async with FakeGateway(script) as gateway, client(gateway) as device:
        await asyncio.sleep(60)
        waiting = len(device._events)
        assert MAX_UNSHOWN < waiting < MAX_UNSHOWN + 10
        taken = [await anext(device) for _ in range(waiting)]
        assert taken[0] == StateChanged("connecting", 0)
        assert [event.received for event in taken if isinstance(event, MarksChanged)] == [4999]


async def begin(storage: MemoryStorage, gateway: FakeGateway) -> None:
    """A device that has begun, and has shown nothing."""

    async def script(line: Line) -> None:
        sync = await line.welcome_and_sync()
        line.say(Heads(sync.id, {}))
        await line.stay()

    async with FakeGateway(script) as empty, client(empty, storage=storage) as device:
        await device.caught_up()


def test_of_what_is_about_the_same_only_the_newest_waits() -> None:
    queue = EventQueue()
    first, second = (MessageReceived(A, seq, "bob", "", 0, "", 0) for seq in (1, 2))
    for event in (
        StateChanged("online", 0),
        first,
        PresenceChanged("bob", True, 0),
        MarksChanged(A, "bob", 1, 0, 0, 0),
        StateChanged("waiting", 4000),
        second,
        PresenceChanged("carol", True, 0),
        MarksChanged(A, "bob", 2, 0, 0, 0),
        PresenceChanged("bob", False, 7),
        StateChanged("online", 0),
    ):
        queue.put(event)
    assert [queue.pop() for _ in range(len(queue))] == [
        first,
        StateChanged("waiting", 4000),
        second,
        PresenceChanged("carol", True, 0),
        MarksChanged(A, "bob", 2, 0, 0, 0),
        PresenceChanged("bob", False, 7),
        StateChanged("online", 0),
    ]


@virtual_time
async def test_a_message_counts_as_shown_when_the_next_is_asked_for() -> None:
    async def script(line: Line) -> None:
        await line.welcome()
        line.say(message(1), message(2))
        await line.stay()

    async with FakeGateway(script) as gateway, client(gateway) as device:
        async for event in device:
            if isinstance(event, MessageReceived):
                break
        await asyncio.sleep(1)
        assert gateway.lines[0].receipts == []
        assert isinstance(second := await anext(device), MessageReceived)
        assert second.seq == 2, "a loop that was left goes on where it was"
        await eventually(lambda: gateway.lines[0].receipts == [Received(A, 1)])


@virtual_time
async def test_a_mark_beyond_the_messages_is_told_again_when_they_come() -> None:
    """Once it was told as far as the messages went, and never again."""

    async def script(line: Line) -> None:
        sync = await line.welcome_and_sync()
        line.say(Heads(sync.id, {}), message(1), frames.Mark(A, "bob", 2, 8, 2, 9))
        await asyncio.sleep(1)
        line.say(message(2))
        await line.stay()

    async with FakeGateway(script) as gateway, watched(client(gateway)) as events:
        await eventually(lambda: seqs(events) == [1, 2])
        told = [event for event in events if isinstance(event, MarksChanged)]
        assert [(mark.received, mark.read) for mark in told] == [(1, 1), (2, 2)]


@virtual_time
async def test_claims_on_one_numbering_are_not_said_of_another() -> None:
    async def script(line: Line) -> None:
        await line.welcome(log=f"log-{line.number}")
        while True:
            if isinstance(question := await line.receive(), Sync):
                line.say(Heads(question.id, {A: 5}))
                if line.number == 0:
                    line.say(message(6), frames.Mark(A, "bob", 9, 1, 0, 0))

    async with FakeGateway(script) as gateway:
        device = client(gateway)
        async with watched(device) as events:
            await eventually(lambda: gateway.connections == 1 and bool(gateway.lines[0].receipts))
            assert gateway.lines[0].receipts == [Received(A, 6)]
            gateway.lines[0].drop()
            await eventually(lambda: gateway.connections == 2 and device.device.caught_up)
            (asked,) = gateway.lines[1].asked_marks
            gateway.lines[1].say(frames.Marks(asked.id, [frames.Mark(A, "bob", 1, 1, 0, 0)]))
            await asyncio.sleep(60)
            assert device.device.mark(A, "bob").received == 1
            assert gateway.lines[1].receipts == []
            assert seqs(events) == [6]


@virtual_time
async def test_an_event_of_another_log_that_is_taken_late_is_not_noted_in_this_one() -> None:
    storage = MemoryStorage()

    async def script(line: Line) -> None:
        sync = await line.welcome_and_sync(log=f"log-{line.number}")
        line.say(Heads(sync.id, {}))
        if line.number == 0:
            line.say(*(message(seq) for seq in range(1, 10)))
            await asyncio.sleep(0.1)
            line.drop()
        await line.stay()

    async with FakeGateway(script) as gateway, client(gateway, storage=storage) as device:
        await eventually(lambda: gateway.connections == 2)
        await device.caught_up()
        while len(device._events):
            await anext(device)
        gateway.lines[1].say(message(1))
        assert isinstance(event := await anext(device), MessageReceived)
        assert event.seq == 1
    assert storage.load().shown == {}
    assert gateway.lines[1].receipts == []


@virtual_time
async def test_what_was_read_of_a_conversation_that_began_while_away_is_known() -> None:
    """It began, and was read on another device, before this one came back."""

    async def script(line: Line) -> None:
        sync = await line.welcome_and_sync()
        line.say(Heads(sync.id, {} if line.number == 0 else {A: 2}))
        if line.number == 0:
            await asyncio.sleep(0.05)
            line.drop()
            return
        asked = await line.asked()
        answering = asyncio.create_task(line.stay())
        await eventually(lambda: bool(line.asked_marks))
        assert line.asked_marks[0].conversations == [A]
        marks = [frames.Mark(A, "alice", 2, 9, 2, 9), frames.Mark(A, "bob", 2, 9, 1, 9)]
        line.say(page(asked, 2, 1, 2), frames.Marks(line.asked_marks[0].id, marks))
        await answering

    async with FakeGateway(script) as gateway, client(gateway) as device:
        await eventually(lambda: device.device.mark(A, "bob").read == 1)
        assert device.device.unread(A) == 0


@virtual_time
async def test_a_reading_is_said_at_once_and_unread_is_arithmetic() -> None:
    async def script(line: Line) -> None:
        await line.welcome()
        line.say(message(1), message(2), message(3))
        await line.stay()

    async with FakeGateway(script) as gateway:
        device = client(gateway)
        async with watched(device) as events:
            await eventually(lambda: seqs(events) == [1, 2, 3])
            assert device.device.unread(A) == 3
            device.read(A, 2)
            assert device.device.unread(A) == 1
            await eventually(lambda: Read(A, 2) in gateway.lines[0].receipts)
