"""Whom a node lets in, for how long, and whom it sends away: on ports in memory."""

import asyncio

import pytest

from gateway.edge.expiries import ASK_SECONDS
from gateway.edge.tokens import BadToken, Why, issue
from gateway.revocations import MAX_DEVICES, RevocationBook
from schemas.codes import Close, Code
from schemas.events import Revocation
from schemas.ids import user_id
from schemas.topics import REVOCATIONS
from tests.harness.memory_node import SECRET, Device, MemoryNode, World, started
from tests.harness.virtual import virtual_time


def token(node: MemoryNode, user: str, lifetime: float, device: str | None = None) -> str:
    return issue(user_id(user), SECRET, node.now() / 1000, lifetime, device)


async def come(node: MemoryNode, with_: str, name: str = "phone") -> Device:
    device = node.connect()
    await device.send({"t": "hello", "id": 1, "version": 1, "token": with_, "device": name})
    await asyncio.sleep(0.01)
    return device


@virtual_time
async def test_a_living_session_ends_when_its_token_expires_and_is_asked_in_time() -> None:
    _, node = await started()
    device = await come(node, token(node, "alice", 300))
    await asyncio.sleep(300 - ASK_SECONDS - 2)
    assert [frame["t"] for frame in device.frames] == ["welcome"]
    await asyncio.sleep(4)
    (asked,) = device.of_type("token_expires")
    assert abs(asked["expires"] - node.now() - (ASK_SECONDS - 2) * 1000) < 2000
    assert device.closed == []
    await asyncio.sleep(ASK_SECONDS)
    assert device.closed == [Close.TOKEN_EXPIRED]


@virtual_time
async def test_a_session_with_fresh_tokens_lasts() -> None:
    _, node = await started()
    device = await come(node, token(node, "alice", 70))
    for number in range(20):
        await asyncio.sleep(50)
        fresh = token(node, "alice", 70)
        await device.send({"t": "renew", "id": number, "token": fresh})
        await asyncio.sleep(0.01)
        answer = device.of_type("renewed")[-1]
        assert (answer["id"], answer["expires"] > node.now() + 60_000) == (number, True)
        if number == 15:
            break
    assert device.closed == []
    await asyncio.sleep(72)
    assert device.closed == [Close.TOKEN_EXPIRED]


@virtual_time
async def test_a_session_that_has_ended_is_not_kept_until_its_token_expires() -> None:
    _, node = await started()
    for _ in range(10):
        device = await come(node, token(node, "alice", 300))
        device.vanish()
    await asyncio.sleep(0.1)
    assert node.node.parts.expiries._due == {}


@virtual_time
async def test_a_token_that_names_a_device_is_for_no_other() -> None:
    _, node = await started()
    named = token(node, "alice", 300, "phone")
    assert (await come(node, named, "phone")).closed == []
    other = await come(node, named, "laptop")
    assert other.closed == [Close.UNAUTHORIZED]
    laptop = await come(node, token(node, "alice", 300), "laptop")
    await laptop.send({"t": "renew", "id": 5, "token": named})
    await asyncio.sleep(0.01)
    assert laptop.of_type("error")[0]["code"] == Code.TOKEN_OF_ANOTHER.number
    assert node.node.parts.logins.refused == {Why.OTHER_DEVICE: 2}


@virtual_time
async def test_a_revocation_ends_sessions_on_every_node_and_makes_tokens_useless() -> None:
    world = World()
    nodes = [world.node(), world.node()]
    for node in nodes:
        await node.start()
    stolen = [token(nodes[0], "alice", 300, name) for name in ("phone", "laptop")]
    phones = [await come(nodes[0], stolen[0], "phone"), await come(nodes[1], stolen[1], "laptop")]
    bob = await come(nodes[1], token(nodes[0], "bob", 300), "phone")
    await asyncio.sleep(1)
    await nodes[0].node.parts.revocations.revoke("alice", "phone", nodes[0].now())
    await asyncio.sleep(2)
    assert [device.closed for device in (*phones, bob)] == [[Close.REVOKED], [], []]
    assert [(await come(node, stolen[0])).closed for node in nodes] == [[Close.REVOKED]] * 2
    for node in nodes:
        with pytest.raises(BadToken) as refused:
            node.node.parts.logins.login(stolen[0])
        assert refused.value.why is Why.REVOKED
        assert node.node.parts.logins.login(stolen[1]).user == "alice"
    await nodes[1].node.parts.revocations.revoke("alice", "", nodes[0].now())
    await asyncio.sleep(2)
    assert [device.closed for device in (phones[1], bob)] == [[Close.REVOKED], []]
    fresh = token(nodes[0], "alice", 300)
    assert [(await come(node, fresh)).closed for node in nodes] == [[], []]


@virtual_time
async def test_a_node_that_comes_later_knows_what_was_revoked_before_it_lets_devices_in() -> None:
    world, node = await started()
    stolen = token(node, "alice", 300)
    await asyncio.sleep(1)
    for user in (*map(str, range(1000)), "alice"):
        await node.node.parts.revocations.revoke(user, "", node.now())
    world.broker.compact(REVOCATIONS)
    later = world.node()
    await later.start()
    assert (await come(later, stolen)).closed == [Close.REVOKED]


@virtual_time
async def test_a_device_that_is_logged_out_cannot_come_back_with_its_token() -> None:
    _, node = await started()
    stolen = token(node, "alice", 300, "phone")
    device = await come(node, stolen)
    await asyncio.sleep(1)
    await node.node.parts.queries.devices.log_out("alice", "phone", node.now())
    await asyncio.sleep(1)
    assert device.closed == [Close.LOGGED_OUT]
    assert (await come(node, stolen)).closed == [Close.REVOKED]
    assert (await come(node, token(node, "alice", 300, "phone"))).closed == []


def revoked(device: str, before: int) -> Revocation:
    return Revocation(1, "alice", device, before)


def test_an_earlier_revocation_takes_nothing_back() -> None:
    book = RevocationBook()
    book.add(revoked("phone", 2000))
    book.add(revoked("phone", 1000))
    assert book.find("alice", "phone", 1.999) is not None
    assert book.find("alice", "phone", 2.0) is None
    assert book.find("alice", "laptop", 1.0) is None
    assert book.find("bob", "phone", 1.0) is None


def test_of_a_user_who_revokes_without_end_all_tokens_are_revoked_and_little_is_kept() -> None:
    book = RevocationBook()
    for number in range(MAX_DEVICES * 5):
        book.add(revoked(f"d{number}", 1000 + number))
    for number in range(MAX_DEVICES * 5):
        assert book.find("alice", f"d{number}", 0.999 + number / 1000) is not None
    assert len(book._users["alice"]) <= MAX_DEVICES


@virtual_time
async def test_what_a_node_refuses_is_counted_by_reason_and_said_without_the_token(
    caplog: pytest.LogCaptureFixture,
) -> None:
    _, node = await started()
    expired = token(node, "alice", -1)
    for _ in range(100):
        assert (await come(node, expired)).closed == [Close.UNAUTHORIZED]
        assert (await come(node, "garbage")).closed == [Close.UNAUTHORIZED]
    assert node.node.parts.logins.refused == {Why.EXPIRED: 100, Why.WRONG: 100}
    lines = [record.message for record in caplog.records if "refused" in record.message]
    assert 2 <= len(lines) <= 6
    assert not any(expired in line or "garbage" in line for line in lines)
