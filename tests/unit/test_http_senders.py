"""Sends over HTTP on a node in memory: the same numbers, refusals and quotas as on a socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest

from gateway.edge import http_senders
from gateway.edge.http_senders import ANSWER_SECONDS, IDLE_SECONDS, HttpSenders, NoSession
from gateway.edge.tokens import Login
from schemas.codes import Close, Code
from schemas.frames import Error, OutOfStep, Refused, Send, Sent
from schemas.ids import HTTP_DEVICE_PREFIX, user_id
from schemas.submitted_codec import decode_submitted
from schemas.topics import PRESENCE_SUBMITTED, SUBMITTED
from tests.harness.memory_node import MemoryNode, World
from tests.harness.memory_sequencer import MemorySequencer
from tests.harness.virtual import virtual_time

OUTBOX = "0" * 32


def send(ordinal: int, body: str = "hi", key: int | None = None, to: str = "bob") -> Send:
    return Send(to, OUTBOX, ordinal, f"{key or ordinal:032x}", body)


class Served(NamedTuple):
    world: World
    node: MemoryNode
    sequencer: MemorySequencer

    @property
    def senders(self) -> HttpSenders:
        return self.node.node.senders

    def login(self, user: str = "alice") -> Login:
        now = self.node.now() / 1000
        return Login(user_id(user), None, now + 100_000, now)

    @property
    def submitted(self) -> int:
        records = self.world.broker.read_all(SUBMITTED, 0)
        return sum(len(decode_submitted(record.value)) for record in records)


@asynccontextmanager
async def served(**settings: Any) -> AsyncIterator[Served]:
    world = World()
    node = world.node(**settings)
    await node.start()
    sequencer = MemorySequencer(world)
    working = asyncio.create_task(sequencer.run())
    yield Served(world, node, sequencer)
    working.cancel()
    await node.node.stop()


@virtual_time
async def test_sends_get_their_numbers_and_a_repeat_the_same_one() -> None:
    async with served() as it:
        bob = await it.node.welcomed("bob")
        first = await it.senders.send(it.login(), [send(1), send(2)])
        assert [one.seq for one in first if isinstance(one, Sent)] == [1, 2]
        assert await it.senders.send(it.login(), [send(2), send(1)]) == first[::-1]
        await asyncio.sleep(0.1)
        assert [frame["seq"] for frame in bob.of_type("message")] == [1, 2]


@virtual_time
async def test_the_sender_s_own_devices_get_the_message_and_nobody_sees_the_user_online() -> None:
    async with served() as it:
        phone = await it.node.welcomed("alice")
        await asyncio.sleep(1)
        said = len(it.world.broker.read_all(PRESENCE_SUBMITTED, 0))
        await it.senders.send(it.login(), [send(1)])
        await it.senders.send(it.login("carol"), [send(1)])
        await asyncio.sleep(1)
        assert [frame["seq"] for frame in phone.of_type("message")] == [1]
        assert len(it.world.broker.read_all(PRESENCE_SUBMITTED, 0)) == said


@virtual_time
async def test_a_session_ends_some_time_after_its_last_request() -> None:
    async with served() as it:
        for _ in range(2):
            await it.senders.send(it.login(), [send(1)])
            await asyncio.sleep(IDLE_SECONDS - 1)
            assert set(it.world.server.tables["routes"]["alice"]) == {
                HTTP_DEVICE_PREFIX + it.node.node.id
            }
        await asyncio.sleep(2)
        assert it.world.server.tables["routes"]["alice"] == {}
        assert len(it.senders) == len(it.node.node.parts.registry) == 0


@virtual_time
async def test_refusals_use_their_ordinals_up_as_on_a_socket() -> None:
    async with served() as it:
        sends = [send(1, ""), send(2, "x" * 20_000), send(3), send(5)]
        empty, large, good, gap = await it.senders.send(it.login(), sends)
        assert isinstance(empty, Refused)
        assert isinstance(large, Refused)
        assert (empty.code, large.code) == (Code.BODY_EMPTY.number, Code.BODY_TOO_LARGE.number)
        assert isinstance(good, Sent)
        assert good.seq == 1
        assert isinstance(gap, OutOfStep)
        assert (gap.reason, gap.next) == ("gap", 4)


@virtual_time
async def test_a_send_beyond_the_quota_is_told_when_to_come_again() -> None:
    async with served(user_sends=1.0) as it:
        answers = await it.senders.send(it.login(), [send(n) for n in range(1, 22)])
        assert all(isinstance(one, Sent) for one in answers[:20])
        last = answers[20]
        assert isinstance(last, Error)
        assert (last.code, last.ordinal) == (Code.QUOTA.number, 21)
        assert last.retry_after


@virtual_time
async def test_what_has_no_answer_in_time_may_be_sent_again() -> None:
    async with served() as it:
        it.sequencer.awake = False
        began = asyncio.get_running_loop().time()
        (late,) = await it.senders.send(it.login(), [send(1)])
        assert asyncio.get_running_loop().time() - began == pytest.approx(ANSWER_SECONDS, abs=0.1)
        assert isinstance(late, Error)
        assert (late.code, late.retry) == (Code.TRY_LATER.number, True)
        it.sequencer.awake = True
        (sent,) = await it.senders.send(it.login(), [send(1)])
        assert isinstance(sent, Sent)
        assert sent.seq == 1


@virtual_time
async def test_a_send_that_is_under_way_is_not_sent_twice() -> None:
    async with served() as it:
        it.sequencer.awake = False
        login = it.login()
        asked = [
            asyncio.create_task(it.senders.send(login, [one]))
            for one in (send(1), send(1), send(1, key=7))
        ]
        await asyncio.sleep(1)
        it.sequencer.awake = True
        (one,), (other,), (another_key,) = await asyncio.gather(*asked)
        assert isinstance(one, Sent)
        assert one == other
        assert isinstance(another_key, Error)
        assert it.submitted == 1
        (reused,) = await it.senders.send(login, [send(1, key=7)])
        assert isinstance(reused, OutOfStep)
        assert reused.reason == "reused"


@virtual_time
async def test_a_revoked_user_and_one_with_too_many_devices_cannot_send() -> None:
    async with served(user_devices=1) as it:
        await it.node.welcomed("alice")
        with pytest.raises(NoSession) as full:
            await it.senders.send(it.login(), [send(1)])
        assert full.value.close is Close.TOO_MANY_DEVICES
        login = it.login("carol")
        await asyncio.sleep(1)
        await it.senders.send(login, [send(1)])
        await it.node.node.parts.revocations.revoke("carol", "", it.node.now())
        await asyncio.sleep(1)
        with pytest.raises(NoSession) as revoked:
            await it.senders.send(login, [send(2)])
        assert revoked.value.close is Close.REVOKED


@virtual_time
async def test_devices_on_other_nodes_count_too() -> None:
    async with served(user_devices=1) as it:
        other = it.world.node(user_devices=1)
        await other.start()
        await other.welcomed("alice")
        with pytest.raises(NoSession) as full:
            await it.senders.send(it.login(), [send(1)])
        assert full.value.close is Close.TOO_MANY_DEVICES
        await other.node.stop()


@virtual_time
async def test_a_node_that_drains_waits_for_the_answers() -> None:
    async with served() as it:
        it.sequencer.awake = False
        sending = asyncio.create_task(it.senders.send(it.login(), [send(1)]))
        await asyncio.sleep(0.1)
        draining = asyncio.create_task(it.node.node.drain())
        await asyncio.sleep(0.1)
        it.sequencer.awake = True
        (sent,) = await sending
        assert isinstance(sent, Sent)
        await draining
        assert len(it.senders) == 0


@virtual_time
async def test_what_is_under_way_when_the_session_ends_may_be_sent_again() -> None:
    async with served() as it:
        it.sequencer.awake = False
        sending = asyncio.create_task(it.senders.send(it.login(), [send(1)]))
        await asyncio.sleep(0.1)
        await it.node.node.slot_lost()
        (late,) = await sending
        assert isinstance(late, Error)
        assert late.retry


@virtual_time
async def test_of_too_many_senders_the_one_idle_longest_makes_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_senders, "MAX_SENDERS", 2)
    async with served() as it:
        for user in ("alice", "carol", "dave"):
            await it.senders.send(it.login(user), [send(1)])
        await asyncio.sleep(0.1)
        assert it.world.server.tables["routes"]["alice"] == {}
        assert len(it.senders) == 2
        it.sequencer.awake = False
        busy = [
            asyncio.create_task(it.senders.send(it.login(user), [send(2)]))
            for user in ("carol", "dave")
        ]
        await asyncio.sleep(0.1)
        with pytest.raises(NoSession):
            await it.senders.send(it.login("erin"), [send(1)])
        it.sequencer.awake = True
        assert len(await asyncio.gather(*busy)) == 2


@virtual_time
async def test_beyond_the_bound_of_sends_under_way_nothing_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_senders, "MAX_UNDER_WAY", 1)
    async with served() as it:
        answers = await it.senders.send(it.login(), [send(1), send(2)])
        assert [isinstance(one, Error) and one.retry for one in answers] == [True, True]
        assert it.submitted == 0
        (sent,) = await it.senders.send(it.login(), [send(1)])
        assert isinstance(sent, Sent)


@virtual_time
async def test_a_flood_over_http_is_read_in_turns_as_on_a_socket() -> None:
    async with served(frame_rate=1000.0) as here:
        bob = await here.node.welcomed("bob")
        login, eve = here.login(), here.login("eve")
        for user in (login, eve):
            await here.senders.send(user, [send(1)])
        batches = [
            asyncio.create_task(here.senders.send(eve, [send(n) for n in range(first, first + 64)]))
            for first in range(2, 2 + 8 * 64, 64)
        ]
        await asyncio.sleep(0.001)
        flood = here.node.node.parts.submitter.submitted - 2
        assert flood < 128, "a first piece, and what is free"
        assert isinstance((await here.senders.send(login, [send(2)]))[0], Sent)
        for answers in await asyncio.gather(*batches):
            assert all(isinstance(answer, Sent) for answer in answers)
        numbers = [m["seq"] for m in bob.of_type("message") if m["from"] == "eve"]
        assert numbers == list(range(1, 2 + 8 * 64))


@virtual_time
async def test_what_was_given_up_before_it_was_read_is_kept_no_longer() -> None:
    async with served() as it:
        await it.senders.send(it.login(), [send(1)])
        sender = it.senders._senders[user_id("alice")]
        sender.pause()
        for _ in range(3):
            answers = await it.senders.send(it.login(), [send(n) for n in range(2, 66)])
            assert all(isinstance(answer, Error) for answer in answers)
            assert not sender._unread, "else each request adds 64 bodies to what waits"
        sender.resume()
        (sent,) = await it.senders.send(it.login(), [send(2)])
        assert isinstance(sent, Sent)
        assert sent.seq == 2
