"""Who asks for much does not keep others waiting: places, turns, quotas and addresses."""

import asyncio
from collections import Counter
from ipaddress import ip_network
from typing import Any

import pytest

from gateway.edge.addresses import client_address, forwarded_of
from gateway.edge.crowd import Crowd
from gateway.edge.http_api import Allowance
from gateway.edge.pacer import Pacer, always
from gateway.edge.problems import Problem
from gateway.greeter import MAX_ARRIVING
from schemas.codes import Close, Code
from schemas.ids import UserId
from simulation.loop import VirtualLoop
from tests.harness.memory_node import SEND, MemoryNode, World
from tests.harness.served import served
from tests.harness.virtual import run

PROXIES = (ip_network("10.0.0.0/8"),)


def test_groups_take_turns_whoever_came_first() -> None:
    def ask() -> None:
        for number in range(100):
            pacer.put(number, lambda: begun.append("eve"), "eve")
        for number in range(3):
            pacer.put(f"a{number}", lambda: begun.append("alice"), "alice")
        pacer.put("b", lambda: begun.append("bob"), "bob")

    loop, pacer, begun = VirtualLoop(), Pacer(always(1), 1.0), list[str]()
    loop.do(ask)
    loop.advance(8.5)
    assert begun == ["eve", "eve", "alice", "bob", "eve", "alice", "eve", "alice", "eve"]
    assert len(pacer) == 104 - len(begun)


def test_who_comes_when_all_is_full_takes_the_place_of_the_last_of_the_largest_group() -> None:
    def ask() -> None:
        for number in range(5):
            pacer.put(number, lambda: None, "eve")
        pacer.put("a", lambda: None, "alice")

    loop, pacer = VirtualLoop(), Pacer(always(1), room=lambda: False)
    loop.do(ask)
    assert pacer.displace("bob") == 4
    assert pacer.displace("eve") is None
    assert [pacer.displace("alice") for _ in range(3)] == [3, 2, None]


def test_the_oldest_of_the_address_with_the_most_goes_first() -> None:
    loop = VirtualLoop()
    crowd = Crowd[str](loop.time)
    crowd.add("honest", "192.0.2.1")
    for number in range(3):
        loop.advance(1)
        crowd.add(f"silent{number}", "192.0.2.9")
    crowd.remove("silent0")
    crowd.remove("not there")
    assert crowd.pop(2.0) is None, "the oldest of them came a second ago"
    assert [crowd.pop() for _ in range(4)] == ["silent1", "honest", "silent2", None]
    assert len(crowd) == 0


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.1", "", "192.0.2.1"),
        ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
        ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "1.2.3.4, 198.51.100.7, 10.0.0.2", "198.51.100.7"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("", "198.51.100.7", ""),
    ],
)
def test_only_trusted_proxies_say_where_a_client_is(
    peer: str, forwarded: str, address: str
) -> None:
    assert client_address(PROXIES, peer, forwarded) == address


def test_the_header_of_a_proxy_is_found_in_a_request() -> None:
    request = bytearray(b"GET / HTTP/1.1\r\nHost: a\r\nX-FORWARDED-For: 1.2.3.4\r\nA: b\r\n\r\n")
    assert client_address(PROXIES, "10.0.0.1", forwarded_of(request)) == "1.2.3.4"
    assert forwarded_of(bytearray(b"GET / HTTP/1.1\r\n\r\n")) == ""


def test_who_is_silent_makes_room_for_others_when_all_places_are_taken() -> None:
    async def scenario() -> None:
        node = await ready()
        node.node.parts.greeter.arriving = MAX_ARRIVING - 2
        silent = [node.connect(), node.connect()]
        assert not node.node.has_room(), "they have had no second yet"
        await asyncio.sleep(1.1)
        assert node.node.has_room()
        assert silent[0].closed == [Close.MADE_ROOM]
        await (await node.come("alice")).connection.leave()
        assert silent[1].closed == []
        await node.node.stop()

    run(scenario())


def test_beyond_its_quota_a_send_is_turned_away_with_its_ordinal_and_others_are_served() -> None:
    async def scenario() -> None:
        node = await ready(user_openings=2.0)
        eve, alice = await node.welcomed("eve"), await node.welcomed("alice")
        for to in ("u1", "u2", "u3"):
            await eve.send({**SEND, "to": to})
        await eve.send({**SEND, "to": "u2", "ordinal": 2})
        await eve.send({**SEND, "to": "u3"})
        await alice.send(SEND)
        await asyncio.sleep(0.1)
        refused = [(one["to"], one["ordinal"], one["code"]) for one in eve.of_type("error")]
        assert refused == [("u3", 1, Code.QUOTA.number)] * 2, "it opens, when it comes again"
        assert all(0 < one["retry_after"] <= 1_800_000 for one in eve.of_type("error"))
        assert alice.of_type("error") == []
        assert node.node.parts.submitter.submitted == 4
        await node.node.stop()

    run(scenario())


def test_questions_and_receipts_have_quotas_of_their_users() -> None:
    async def scenario() -> None:
        node = await ready(user_questions=1.0, user_sends=1.0)
        eve = await node.welcomed("eve")
        for number in range(30):
            await eve.send(
                {"t": "received", "conversation": "alice:eve", "seq": number + 1},
                {"t": "watch", "id": 100 + number, "users": []},
            )
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        codes = Counter((one["code"], "id" in one) for one in eve.of_type("error"))
        assert codes == {
            (Code.QUOTA.number, True): 10,
            (Code.QUOTA.number, False): 10,
            (Code.TRY_LATER.number, False): 20,  # no worker is there to say whether it has messages
        }
        await node.node.stop()

    run(scenario())


def test_a_user_has_so_many_devices_on_a_node_and_may_come_again_with_one_of_them() -> None:
    async def scenario() -> None:
        node = await ready(user_devices=2)
        for name in ("one", "two", "two"):
            await node.welcomed("eve", name)
        third = await node.come("eve", "three")
        await node.welcomed("alice", "three")
        assert third.closed == [Close.TOO_MANY_DEVICES]
        await node.node.stop()

    run(scenario())


def test_a_user_has_so_many_devices_on_all_nodes_together() -> None:
    async def scenario() -> None:
        world = World()
        nodes = [world.node(user_devices=2) for _ in range(2)]
        for node in nodes:
            await node.start()
        one = await nodes[0].welcomed("eve", "one")
        await nodes[1].welcomed("eve", "two")
        for node in nodes:
            third = await node.come("eve", "three")
            await asyncio.sleep(0.1)
            assert third.closed == [Close.TOO_MANY_DEVICES]
            await node.welcomed("alice", f"at-{node.slot}")
        await asyncio.sleep(2)
        await nodes[1].welcomed("eve", "one")
        one.vanish()
        await asyncio.sleep(0.1)
        third = await nodes[0].come("eve", "three")
        await asyncio.sleep(0.1)
        assert third.closed == [Close.TOO_MANY_DEVICES], "one is at the other node now"
        for node in nodes:
            await node.node.stop()

    run(scenario())


def test_over_http_a_user_has_a_quota_and_so_many_requests_under_way() -> None:
    async def scenario() -> None:
        node = await ready(user_questions=1.0)
        allow, eve, alice = Allowance(node.node.parts.quotas, 2), UserId("eve"), UserId("alice")
        with allow(eve, 1.0), allow(eve, 1.0):
            with pytest.raises(Problem) as busy, allow(eve, 1.0):
                pass
            with allow(alice, 1.0):
                pass
        with allow(eve, 18.0):
            pass
        with pytest.raises(Problem) as poor, allow(eve, 1.0):
            pass
        assert (busy.value.status, busy.value.code) == (429, Code.BUSY)
        assert (poor.value.status, poor.value.code) == (429, Code.QUOTA)
        assert 0 < poor.value.retry_after <= 1000
        await node.node.stop()

    run(scenario())


def test_log_outs_are_done_one_by_one_and_users_take_turns() -> None:
    async def scenario() -> None:
        node = await ready()

        async def log_out(user: str, device: str) -> None:
            await node.node.parts.queries.devices.log_out(user, device, node.now())
            done.append(user)

        done = list[str]()
        flood = [asyncio.create_task(log_out("eve", f"d{number}")) for number in range(50)]
        await asyncio.sleep(0.001)
        await log_out("alice", "phone")
        assert done.count("eve") <= 3
        await asyncio.gather(*flood)
        await node.node.stop()

    run(scenario())


async def test_requests_of_an_address_with_many_wait_behind_each_other_not_before_others() -> None:
    def request(address: str) -> bytes:
        return f"GET /health HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {address}\r\n\r\n".encode()

    async def ask(address: str, count: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
        writer.write(request(address) * count)
        for _ in range(count):
            await reader.readuntil(b"HTTP/1.1 200")
            answered[address] += 1
        writer.close()

    answered = Counter[str]()
    async with served(trusted_proxies="127.0.0.1/32") as node, asyncio.timeout(120):
        flood = [asyncio.create_task(ask("192.0.2.9", 20)) for _ in range(50)]
        while not answered["192.0.2.9"]:
            await asyncio.sleep(0.001)
        await ask("192.0.2.1", 1)
        assert answered["192.0.2.9"] < 500
        await asyncio.gather(*flood)


async def ready(**settings: Any) -> MemoryNode:
    node = World().node(**settings)
    await node.start()
    return node
