"""What the callers of `submit`, `send` and `history` get; the vectors hold what the device does."""

import asyncio
from collections.abc import Sequence

import pytest

from messenger_sdk import (
    HistoryRefused,
    MemoryStorage,
    OutboxFull,
    SendRefused,
    SendUnknown,
)
from messenger_sdk.outbox import MAX_QUEUED
from messenger_sdk.storage import Change, Numbered
from schemas import frames
from schemas.codes import Code
from schemas.ids import InvalidId
from tests.harness.fake_gateway import FakeGateway, Line, eventually, sent
from tests.harness.virtual import virtual_time
from tests.sdk.devices import A, client, message, page


@virtual_time
async def test_a_dropped_connection_repeats_the_unanswered_and_only_those() -> None:
    heard: list[list[str]] = []

    async def script(line: Line) -> None:
        await line.welcome()
        sends = await line.sends(3 if line.number == 0 else 2)
        heard.append([send.body for send in sends])
        if line.number == 0:
            line.say(sent(sends[0], 1))
            line.drop()
        else:
            assert [send.ordinal for send in sends] == [2, 3]
            assert {send.round for send in sends} == {2}
            line.say(*(sent(send, send.ordinal) for send in sends))
            await line.stay()

    async with FakeGateway(script) as gateway, client(gateway) as device:
        results = await asyncio.gather(*(device.send("bob", body) for body in "abc"))
    assert heard == [["a", "b", "c"], ["b", "c"]]
    assert [result.seq for result in results] == [1, 2, 3]


@virtual_time
async def test_refusals_have_their_type() -> None:
    async def script(line: Line) -> None:
        await line.welcome()
        for send in await line.sends(3):
            named = A, send.outbox, send.ordinal, send.key
            if send.body == "refused":
                line.say(frames.Refused(*named, Code.BODY_INVALID.number, 0))
            elif send.body == "reused":
                line.say(frames.OutOfStep(*named, send.round, 9, "reused"))
            else:
                line.say(sent(send, 1))
        line.say(frames.Page((await line.asked()).id, A, 1, [], first=True))
        await line.stay()

    async with FakeGateway(script) as gateway, client(gateway) as device:
        sending = [device.submit("bob", body) for body in ("refused", "reused", "taken")]
        with pytest.raises(SendRefused) as refused:
            await sending[0]
        assert refused.value.code == Code.BODY_INVALID.number
        with pytest.raises(SendUnknown):
            await sending[1]
        assert (await sending[2]).seq == 1


@virtual_time
async def test_what_can_never_be_sent_is_refused_at_once() -> None:
    async def script(line: Line) -> None:
        await line.welcome()
        await line.stay()

    async with FakeGateway(script) as gateway, client(gateway) as device:
        await device.online()
        for body, code in (("\ud800", Code.BODY_INVALID), ("x" * 20_000, Code.BODY_TOO_LARGE)):
            with pytest.raises(SendRefused) as refused:
                device.submit("bob", body)
            assert refused.value.code == code.number
        for nobody in ("Not A User", "alice"):
            with pytest.raises(InvalidId):
                device.submit(nobody, "hi")
        for _ in range(MAX_QUEUED):
            device.submit("bob", "hi")
        with pytest.raises(OutboxFull):
            device.submit("bob", "one more")


@virtual_time
async def test_a_send_that_the_server_no_longer_knows_is_found_in_the_history() -> None:
    async def script(line: Line) -> None:
        await line.welcome()
        (send,) = await line.sends(1)
        line.say(frames.OutOfStep(A, send.outbox, 1, send.key, send.round, 200, "too_old"))
        line.say(page(await line.asked(), 42, 41, 42))
        older = await line.asked()
        assert older.before == 41
        mine = message(7, "mine", "alice", send.key)
        line.say(frames.Page(older.id, A, 42, [message(6, key=send.key), mine]))
        await line.stay()

    async with FakeGateway(script) as gateway, client(gateway) as device:
        found = await device.send("bob", "mine")
        assert (found.seq, found.time) == (7, 1007)


@virtual_time
async def test_history_waits_for_its_turn_is_asked_again_and_has_its_errors() -> None:
    async def script(line: Line) -> None:
        await line.welcome()
        if line.number == 0:
            first, third = await line.asked(), await line.asked()
            assert (first.limit, first.before, third.after) == (2, 9, 0)
            line.say(page(first, 9, 7, 8))
            line.drop()
            return
        again = await line.asked()
        assert again.after == 0
        line.say(page(again, 9, 1, 2))
        await line.stay()

    async with FakeGateway(script) as gateway, client(gateway) as device:
        asking = [
            asyncio.create_task(device.history(A, before=9, limit=2)),
            asyncio.create_task(device.history(A, before=9, limit=2)),
            asyncio.create_task(device.history(A, after=0, limit=2)),
        ]
        await asyncio.sleep(0)
        asking[1].cancel()  # nobody waits for it any more
        assert [one.seq for one in (await asking[0]).messages] == [7, 8]
        assert [one.seq for one in (await asking[2]).messages] == [1, 2]


@virtual_time
async def test_a_question_that_is_refused_raises() -> None:
    async def script(line: Line) -> None:
        await line.welcome()
        asked = await line.asked()
        line.say(frames.Error(Code.NOT_A_MEMBER.number, False, "", id=asked.id))
        await line.stay()

    async with FakeGateway(script) as gateway, client(gateway) as device:
        with pytest.raises(HistoryRefused) as refused:
            await device.history("carol:dave")
        assert refused.value.code == Code.NOT_A_MEMBER.number


class SlowStorage(MemoryStorage):
    """A disk that takes its time."""

    def __init__(self) -> None:
        super().__init__()
        self.saving = asyncio.Event()
        self.may_save = asyncio.Event()
        self.saved: list[Change] = []

    async def save(self, changes: Sequence[Change]) -> None:
        self.saving.set()
        await self.may_save.wait()
        self.saved += changes
        await super().save(changes)


@virtual_time
async def test_nothing_leaves_before_it_is_saved_and_the_loop_does_not_wait() -> None:
    storage = SlowStorage()

    async def script(line: Line) -> None:
        await line.welcome()
        for send in await line.sends(2):
            assert any(type(c) is Numbered and c.key == send.key for c in storage.saved)
            line.say(sent(send, send.ordinal))
        await line.stay()

    async with FakeGateway(script) as gateway, client(gateway, storage=storage) as device:
        sending = [device.submit("bob", body) for body in ("one", "two")]
        await storage.saving.wait()
        await asyncio.sleep(1)  # the loop runs on
        saved = asyncio.ensure_future(device.saved())
        await asyncio.sleep(0)
        assert not saved.done()
        assert device.state == "online"
        storage.may_save.set()
        await saved
        assert [(await result).seq for result in sending] == [1, 2]


@virtual_time
async def test_what_is_being_saved_when_the_client_is_closed_is_saved() -> None:
    storage = SlowStorage()

    async def script(line: Line) -> None:
        await line.stay()

    async with FakeGateway(script) as gateway, client(gateway, storage=storage) as device:
        device.submit("bob", "hi")
        await storage.saving.wait()
        device.submit("bob", "more")
        closing = asyncio.create_task(device.close())
        await asyncio.sleep(1)
        storage.may_save.set()
        await closing
    assert [send.body for send in storage.load().sends] == ["hi", "more"]


@virtual_time
async def test_what_was_due_to_a_link_that_ended_while_it_was_saved_is_sent_once_to_the_next() -> (
    None
):
    storage = SlowStorage()
    heard: list[int] = []

    async def script(line: Line) -> None:
        await line.welcome()
        if line.number == 0:
            await line.stay()
        (send,) = await line.sends(1)
        heard.append(send.round)
        line.say(sent(send, 1))
        await line.stay()

    async with FakeGateway(script) as gateway, client(gateway, storage=storage) as device:
        storage.may_save.set()
        await device.online()
        await device.saved()
        storage.may_save.clear()
        storage.saving.clear()
        device.submit("bob", "hi")
        await storage.saving.wait()
        gateway.lines[0].drop()
        await eventually(lambda: gateway.connections == 2 and device.state == "online")
        storage.may_save.set()
        await eventually(lambda: heard != [])
        await asyncio.sleep(60)
    assert heard == [2]
