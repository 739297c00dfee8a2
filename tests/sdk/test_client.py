"""The client against a gateway that misbehaves."""

import asyncio
import itertools

import pytest

from messenger_sdk import (
    Client,
    ClientClosed,
    ConnectionRefused,
    MessageReceived,
    SendRefused,
    SendUnknown,
    StateChanged,
)
from messenger_sdk.events import Event
from schemas import frames
from schemas.codes import Close, Code
from tests.harness.fake_gateway import FakeGateway, Line, Script, eventually, sent


def client(gateway: FakeGateway, jitter: float = 0.1) -> Client:
    numbers = itertools.count(1)
    return Client(
        gateway.url, "token", "phone", jitter=lambda: jitter, new_id=lambda: f"{next(numbers):032x}"
    )


def message(seq: int, body: str = "hi", sender: str = "bob", key: str = "00") -> frames.Message:
    return frames.Message("alice:bob", seq, sender, key, 1000 + seq, body)


async def collect(device: Client, into: list[Event]) -> None:
    async for event in device:
        into.append(event)


def seqs(events: list[Event]) -> list[int]:
    return [event.seq for event in events if isinstance(event, MessageReceived)]


@pytest.mark.parametrize(
    "close", [close for close in Close if not close.retry], ids=lambda close: close.name
)
async def test_a_final_close_code_stops_the_client(close: Close) -> None:
    async def script(line: Line) -> None:
        await line.welcome()
        await line.sends(1)
        await line.close(close.number)

    async with FakeGateway(script) as gateway, client(gateway) as device:
        events: list[Event] = []
        sending = device.submit("bob", "hi")
        await asyncio.wait_for(collect(device, events), 5)
        assert events[-1] == StateChanged("stopped", close.number)
        with pytest.raises(ConnectionRefused) as refused:
            await sending
        assert refused.value.code == close.number
        for again in (device.online(), device.send("bob", "more")):
            with pytest.raises(ConnectionRefused):
                await again
        await asyncio.sleep(0.1)
        assert gateway.connections == 1


@pytest.mark.parametrize(
    "code", [close.number for close in Close if close.retry] + [1000, 1001, 1009, 1011, 3000]
)
async def test_any_other_close_code_is_come_back(code: int) -> None:
    async def script(line: Line) -> None:
        await line.welcome()
        (send,) = await line.sends(1)
        if line.number == 0:
            await line.close(code)
        else:
            await line.say(sent(send, 1))
            await line.stay()

    async with FakeGateway(script) as gateway, client(gateway) as device:
        assert (await asyncio.wait_for(device.send("bob", "hi"), 5)).seq == 1


async def test_claims_on_one_numbering_are_not_said_of_another() -> None:
    said: list[list[frames.Received | frames.Read]] = []

    async def script(line: Line) -> None:
        said.append(line.receipts)
        await line.welcome(log=f"log-{line.number}")
        listening = asyncio.create_task(listen(line))
        if line.number == 0:
            await eventually(lambda: bool(line.receipts))
            line.drop()
        await eventually(lambda: bool(line.asked_marks))
        await line.say(
            *(
                frames.Marks(asked.id, [frames.Mark("alice:bob", "bob", 1, 1, 0, 0)])
                for asked in line.asked_marks
            )
        )
        await listening

    async def listen(line: Line) -> None:
        while True:
            if isinstance(question := await line.receive(), frames.Sync):
                await line.say(frames.Heads(question.id, {"alice:bob": 5}))
                if line.number == 0:
                    await line.say(message(6), frames.Mark("alice:bob", "bob", 9, 1, 0, 0))

    async with FakeGateway(script) as gateway, client(gateway) as device:
        events: list[Event] = []
        collecting = asyncio.create_task(collect(device, events))
        await eventually(
            lambda: len(said) == 2 and device.device.mark("alice:bob", "bob").received == 1
        )
        await asyncio.sleep(0.1)
        assert said == [[frames.Received("alice:bob", 6)], []]
        await device.close()
        await collecting


async def test_a_receipt_that_is_refused_is_said_again_without_a_reconnect() -> None:
    said: list[frames.Received | frames.Read] = []

    async def script(line: Line) -> None:
        line.receipts = said
        await line.welcome()
        question = await line.receive()
        assert isinstance(question, frames.Sync)
        await line.say(frames.Heads(question.id, {}), message(1))
        listening = asyncio.create_task(line.stay())
        for number, code in enumerate((Code.TRY_LATER, Code.RATE_LIMITED), 1):
            await eventually(lambda number=number: len(said) == number)  # type: ignore[misc]
            await line.say(frames.Error(code.number, code.retry, code.text))
            await eventually(lambda number=number: len(line.asked_marks) == number)  # type: ignore[misc]
            await line.say(frames.Marks(line.asked_marks[-1].id, []))
        await listening

    async with FakeGateway(script) as gateway, client(gateway) as device:
        collecting = asyncio.create_task(collect(device, []))
        await eventually(lambda: len(said) == 3)
        await asyncio.sleep(0.3)
        assert said == [frames.Received("alice:bob", 1)] * 3, "and no more, once it is taken"
        assert gateway.connections == 1
        await device.close()
        await collecting


async def test_a_dropped_connection_repeats_the_unanswered_and_only_those() -> None:
    heard: list[list[str]] = []

    async def script(line: Line) -> None:
        await line.welcome()
        sends = await line.sends(3 if line.number == 0 else 2)
        heard.append([send.body for send in sends])
        if line.number == 0:
            await line.say(sent(sends[0], 1))
            await asyncio.sleep(0.05)
            line.drop()
        else:
            assert [send.ordinal for send in sends] == [2, 3]
            assert {send.round for send in sends} == {2}
            await line.say(*(sent(send, send.ordinal) for send in sends))
            await line.stay()

    async with FakeGateway(script) as gateway, client(gateway) as device:
        results = await asyncio.wait_for(
            asyncio.gather(*(device.send("bob", body) for body in "abc")), 5
        )
    assert heard == [["a", "b", "c"], ["b", "c"]]
    assert [result.seq for result in results] == [1, 2, 3]


def page(asked: frames.History, known: int, *seqs: int) -> frames.Page:
    return frames.Page(asked.id, asked.conversation, known, [message(seq) for seq in seqs])


async def shown_by(script: Script, until: int) -> list[Event]:
    """What a device shows until it has shown number `until`."""
    events: list[Event] = []
    async with FakeGateway(script) as gateway, client(gateway) as device:
        watching = asyncio.create_task(collect(device, events))
        await eventually(lambda: seqs(events)[-1:] == [until])
        await device.close()
        await watching
    return events


async def test_each_message_once_and_in_order_whatever_is_repeated() -> None:
    async def script(line: Line) -> None:
        await line.welcome()
        await line.say(message(1), message(2))
        await line.say(
            message(2), message(1), message(5), message(3), message(6), message(4), message(7)
        )
        await line.stay()

    assert seqs(await shown_by(script, 7)) == [1, 2, 3, 4, 5, 6, 7]


async def test_a_hole_is_asked_for_and_what_came_early_waits() -> None:
    async def script(line: Line) -> None:
        await line.welcome()
        await line.say(message(1), message(5), message(6))
        asked = await line.asked()
        assert (asked.conversation, asked.after) == ("alice:bob", 1)
        await line.say(page(asked, 3, 2, 3), message(7))
        asked = await line.asked()
        assert asked.after == 3
        await line.say(page(asked, 3))  # the log does not have it yet
        asked = await line.asked()
        await line.say(frames.Error(Code.TRY_LATER.number, True, "", id=asked.id))
        asked = await line.asked()
        await line.say(page(asked, 7, 4, 5, 6, 7))
        await line.stay()

    events = await shown_by(script, 7)
    assert seqs(events) == [1, 2, 3, 4, 5, 6, 7]
    assert {event.missing for event in events if isinstance(event, MessageReceived)} == {0}


async def test_what_the_log_no_longer_holds_is_said_to_be_missing() -> None:
    async def script(line: Line) -> None:
        await line.welcome()
        await line.say(message(1), message(5))
        await line.say(
            frames.Error(Code.RANGE_GONE.number, False, "", id=(await line.asked()).id), message(6)
        )
        await line.stay()

    events = await shown_by(script, 6)
    assert [
        (event.seq, event.missing) for event in events if isinstance(event, MessageReceived)
    ] == [(1, 0), (5, 3), (6, 0)]


async def test_what_was_missed_while_away_is_fetched_after_coming_back() -> None:
    async def script(line: Line) -> None:
        await line.welcome()
        sync = await line.receive()
        assert isinstance(sync, frames.Sync)
        if line.number == 0:
            assert sync.cursors == {}
            await line.say(
                message(1), message(2), frames.Heads(sync.id, {"alice:bob": 2, "alice:zoe": 4})
            )
            await asyncio.sleep(0.05)
            line.drop()
            return
        assert sync.cursors == {"alice:bob": 2, "alice:zoe": 4}
        if line.number == 1:
            await line.say(frames.Error(Code.TRY_LATER.number, True, "", id=sync.id))
            again = await line.receive()
            assert isinstance(again, frames.Sync)
            await line.say(message(205))  # while it catches up
            await line.say(frames.Heads(again.id, {"alice:bob": 204}))
            for first in (3, 103, 203):
                asked = await line.asked()
                assert asked.after == first - 1
                await line.say(page(asked, 204, *range(first, min(first + 100, 205))))
            await line.stay()

    assert seqs(await shown_by(script, 205)) == list(range(1, 206))


async def test_resync_asks_again_and_finds_conversations_that_were_never_heard_of() -> None:
    async def script(line: Line) -> None:
        await line.welcome()
        first = await line.receive()
        assert isinstance(first, frames.Sync)
        await line.say(frames.Heads(first.id, {}), frames.Resync())
        second = await line.receive()
        assert isinstance(second, frames.Sync)
        await line.say(frames.Heads(second.id, {"alice:bob": 1}, "alice:bob"))
        rest = await line.receive()
        assert isinstance(rest, frames.Sync)
        assert rest.after == "alice:bob"
        third = await line.receive()
        assert isinstance(third, frames.History)
        assert third.after == 0
        await line.say(frames.Heads(rest.id, {}), page(third, 1, 1))
        await line.stay()

    assert seqs(await shown_by(script, 1)) == [1]


async def test_what_was_read_of_a_conversation_that_began_while_away_is_known() -> None:
    """It began, and was read on another device, before this one came back."""

    async def script(line: Line) -> None:
        await line.welcome()
        sync = await line.receive()
        assert isinstance(sync, frames.Sync)
        await line.say(frames.Heads(sync.id, {} if line.number == 0 else {"alice:bob": 2}))
        if line.number == 0:
            await asyncio.sleep(0.05)
            line.drop()
            return
        asked = await line.asked()
        answering = asyncio.create_task(line.stay())
        await eventually(lambda: bool(line.asked_marks))
        assert line.asked_marks[0].conversations == ["alice:bob"]
        marks = [
            frames.Mark("alice:bob", "alice", 2, 9, 2, 9),
            frames.Mark("alice:bob", "bob", 2, 9, 1, 9),
        ]
        await line.say(page(asked, 2, 1, 2), frames.Marks(line.asked_marks[0].id, marks))
        await answering

    async with (
        FakeGateway(script) as gateway,
        Client(gateway.url, "t", "phone", jitter=lambda: 0.1) as phone,
    ):
        await eventually(lambda: phone.device.mark("alice:bob", "bob").read == 1)
        assert phone.device.unread("alice:bob") == 0


async def test_own_message_is_an_answer_and_is_shown_once() -> None:
    async def script(line: Line) -> None:
        await line.welcome()
        (send,) = await line.sends(1)
        await line.say(
            frames.Message("alice:bob", 7, "alice", send.key, 1007, send.body), sent(send, 7)
        )
        await line.stay()

    events: list[Event] = []
    async with FakeGateway(script) as gateway, client(gateway) as device:
        watching = asyncio.create_task(collect(device, events))
        result = await asyncio.wait_for(device.send("bob", "hi"), 5)
        assert (result.seq, result.time) == (7, 1007)
        await eventually(lambda: seqs(events) == [7])
        await device.close()
        await watching
    assert seqs(events) == [7]


async def test_another_log_id_drops_the_cursors() -> None:
    async def script(line: Line) -> None:
        await line.welcome(log=f"log-{line.number}")
        await line.say(message(9 if line.number == 0 else 1))
        if line.number == 0:
            await asyncio.sleep(0.05)
            line.drop()
        await line.stay()

    events: list[Event] = []
    async with FakeGateway(script) as gateway, client(gateway) as device:
        watching = asyncio.create_task(collect(device, events))
        await eventually(lambda: seqs(events) == [9, 1])
        await device.close()
        await watching


async def test_refusals_have_their_type() -> None:
    async def script(line: Line) -> None:
        await line.welcome()
        for send in await line.sends(3):
            named = "alice:bob", send.outbox, send.ordinal, send.key
            if send.body == "refused":
                await line.say(frames.Refused(*named, Code.BODY_INVALID.number, 0))
            elif send.body == "reused":
                await line.say(frames.OutOfStep(*named, send.round, 9, "reused"))
            else:
                await line.say(sent(send, 1))
        asked = await line.asked()
        assert (asked.conversation, asked.before) == ("alice:bob", None)
        await line.say(frames.Page(asked.id, "alice:bob", 1, [], first=True))
        await line.stay()

    async with FakeGateway(script) as gateway, client(gateway) as device:
        sending = [device.submit("bob", body) for body in ("refused", "reused", "taken")]
        with pytest.raises(SendRefused) as refused:
            await sending[0]
        assert refused.value.code == Code.BODY_INVALID.number
        with pytest.raises(SendUnknown):
            await sending[1]
        assert (await sending[2]).seq == 1


async def test_a_retryable_error_repeats_the_lane_in_order() -> None:
    async def script(line: Line) -> None:
        await line.welcome()
        first, second = await line.sends(2)
        error = frames.Error(
            Code.TRY_LATER.number, True, "", None, "bob", first.outbox, first.ordinal
        )
        gap = frames.OutOfStep(
            "alice:bob", second.outbox, second.ordinal, second.key, second.round, 1, "gap"
        )
        await line.say(error, gap)
        again = await line.sends(2)
        assert [send.ordinal for send in again] == [1, 2]
        assert again[0].round > first.round
        await line.say(*(sent(send, send.ordinal) for send in again))
        await line.stay()

    async with FakeGateway(script) as gateway, client(gateway) as device:
        results = await asyncio.wait_for(
            asyncio.gather(device.send("bob", "a"), device.send("bob", "b")), 5
        )
        assert [result.seq for result in results] == [1, 2]


async def test_a_forgotten_outbox_hands_back_the_unanswered_and_goes_on_with_a_new_one() -> None:
    outboxes: list[str] = []

    async def script(line: Line) -> None:
        await line.welcome()
        (first,) = await line.sends(1)
        await line.say(sent(first, 1))
        for _ in range(2):  # in the first round this could be an answer that came late
            (second,) = await line.sends(1)
            await line.say(
                frames.OutOfStep("alice:bob", second.outbox, 2, second.key, second.round, 1, "gap")
            )
        asked = await line.asked()
        await line.say(frames.Error(Code.TRY_LATER.number, True, "later", id=asked.id))
        again = await line.asked()
        assert again == asked
        await line.say(
            frames.Page(again.id, "alice:bob", 1, [message(1, key=first.key)], first=True)
        )
        (third,) = await line.sends(1)
        outboxes.extend(send.outbox for send in (first, third))
        await line.say(sent(third, 2))
        await line.stay()

    async with FakeGateway(script) as gateway, client(gateway) as device:
        await device.send("bob", "a")
        with pytest.raises(SendUnknown):
            await asyncio.wait_for(device.send("bob", "b"), 5)
        assert (await asyncio.wait_for(device.send("bob", "c"), 5)).seq == 2
    assert outboxes[0] != outboxes[1]


async def test_a_send_that_the_server_no_longer_knows_is_found_in_the_history() -> None:
    async def script(line: Line) -> None:
        await line.welcome()
        (send,) = await line.sends(1)
        await line.say(
            frames.OutOfStep("alice:bob", send.outbox, 1, send.key, send.round, 200, "too_old")
        )
        newest = await line.asked()
        others = [message(seq, key=f"{seq:032x}") for seq in (41, 42)]
        await line.say(frames.Page(newest.id, "alice:bob", 42, others))
        older = await line.asked()
        assert (newest.before, older.before) == (None, 41)
        mine = frames.Message("alice:bob", 7, "alice", send.key, 1007, "mine")
        theirs = frames.Message("alice:bob", 6, "bob", send.key, 1006, "another's key")
        await line.say(frames.Page(older.id, "alice:bob", 42, [theirs, mine]))
        await line.stay()

    async with FakeGateway(script) as gateway, client(gateway) as device:
        found = await asyncio.wait_for(device.send("bob", "mine"), 5)
        assert (found.seq, found.time) == (7, 1007)


async def test_garbage_from_the_server_is_left_out_or_ends_the_connection() -> None:
    async def script(line: Line) -> None:
        await line.welcome()
        if line.number == 0:
            await line.say_raw('{"t":"of-a-newer-server","x":1}\n{"t":"pong","id":1}')
            await line.say(message(1))
            await line.say_raw("this is not JSON")
            await line.stay()
        await line.say(message(2))
        await line.stay()

    events: list[Event] = []
    async with FakeGateway(script) as gateway, client(gateway) as device:
        watching = asyncio.create_task(collect(device, events))
        await eventually(lambda: seqs(events) == [1, 2])
        await device.close()
        await watching


async def test_a_node_that_turns_away_is_not_stormed() -> None:
    """503 to the handshake: come again after 0.05, 0.1, 0.2, 0.4 s …, by the jitter of 0.5."""
    came: list[float] = []

    async def turn_away(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(asyncio.get_running_loop().time())
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        )
        writer.close()

    server = await asyncio.start_server(turn_away, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with Client(
            f"http://127.0.0.1:{port}", "token", "phone", jitter=lambda: 0.5
        ) as device:
            async with asyncio.timeout(5):
                while len(came) < 5:
                    await asyncio.sleep(0.01)
            assert device.state in ("connecting", "waiting")
    for attempt, (before, after) in enumerate(itertools.pairwise(came)):
        assert after - before >= 0.05 * 2**attempt


async def test_a_node_that_welcomes_and_drops_is_not_stormed() -> None:
    async def script(line: Line) -> None:
        await line.welcome()
        line.drop()

    async with FakeGateway(script) as gateway, client(gateway, jitter=0.99):
        await asyncio.sleep(1.0)
    assert gateway.connections <= 5  # 0, 0.1, 0.3, 0.7 s: the attempts go on counting


@pytest.mark.parametrize("while_", ["online", "waiting", "connecting"])
async def test_close_ends_everything_that_waits(while_: str) -> None:
    async def welcomes(line: Line) -> None:
        await line.welcome()
        await line.stay()

    async def drops(line: Line) -> None:
        line.drop()

    async def says_nothing(line: Line) -> None:
        await line.stay()

    scripts: dict[str, Script] = {"online": welcomes, "waiting": drops, "connecting": says_nothing}
    async with FakeGateway(scripts[while_]) as gateway, client(gateway, jitter=0.99) as device:
        events: list[Event] = []
        watching = asyncio.create_task(collect(device, events))
        sending = device.submit("bob", "hi")
        await eventually(lambda: device.state == while_)
        going_online = asyncio.create_task(device.online())
        await device.close()
        await asyncio.wait_for(watching, 1)
        assert events[-1] == StateChanged("stopped", 0)
        assert device.state == "stopped"
        with pytest.raises(ClientClosed):
            await sending
        if while_ != "online":
            with pytest.raises(ClientClosed):
                await going_online
        with pytest.raises(ClientClosed):
            await device.send("bob", "more")
        assert [event async for event in device] == []
        await device.close()  # once more does no harm
