"""The gateway against everything devices do: bad frames, floods, slow readers; other sockets are
untouched."""

import asyncio
import json
import os
import random
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from gateway.edge.tokens import issue
from gateway.turn_writer import MAX_UNREAD_BYTES
from schemas.codec import encode_event
from schemas.codes import Close, Code
from schemas.events import SCHEMA_VERSION, AnswerDelivered, DeliveryRecord
from schemas.ids import user_id
from schemas.topics import DELIVERIES
from tests.harness import kafka
from tests.harness.stack import Stack
from tests.harness.talk import Talk

pytestmark = pytest.mark.real


class Device:
    """A bare socket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def ask(self, message: str | dict[str, Any]) -> dict[str, Any]:
        await self.socket.send_str(message if isinstance(message, str) else json.dumps(message))
        answer: dict[str, Any] = json.loads((await self.socket.receive(10)).data)
        return answer

    async def closed(self) -> int | None:
        while not self.socket.closed:
            await self.socket.receive(60)
        return self.socket.close_code


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def connect(
    http: aiohttp.ClientSession, stack: Stack, user: str, device: str = "one", **hello: Any
) -> Device:
    token = issue(user_id(user), stack.token_secret, time.time())
    connected = Device(await http.ws_connect(f"{stack.gateway_urls[0]}/v1/socket"))
    frame = {"t": "hello", "id": 1, "version": 1, "token": token, "device": device, **hello}
    await connected.socket.send_str(json.dumps(frame))
    return connected


async def welcomed(
    http: aiohttp.ClientSession, stack: Stack, user: str, device: str = "one"
) -> Device:
    connected = await connect(http, stack, user, device)
    assert json.loads((await connected.socket.receive(10)).data)["t"] == "welcome"
    return connected


async def test_bad_hellos_are_told_whether_to_come_back(
    http: aiohttp.ClientSession, stack: Stack
) -> None:
    expired = issue(user_id("eve"), stack.token_secret, time.time() - 100, 50)
    for hello, close in (
        ({"token": "forged"}, Close.UNAUTHORIZED),
        ({"token": expired}, Close.UNAUTHORIZED),
        ({"version": 99}, Close.VERSION_UNSUPPORTED),
        ({"device": "a/b"}, Close.BAD_PROTOCOL),
        ({"t": "send"}, Close.BAD_PROTOCOL),
    ):
        assert await (await connect(http, stack, "eve", **hello)).closed() == close.number


async def test_bad_messages(http: aiohttp.ClientSession, stack: Stack) -> None:
    device = await welcomed(http, stack, "bad-messages")
    for message, code in (
        ("junk", Code.BAD_FRAME),
        ("[]", Code.BAD_FRAME),
        ({"t": "hologram", "id": 4}, Code.UNKNOWN_FRAME),
        ({"t": "send", "to": "bob"}, Code.BAD_FIELD),
        ({"t": "hello", "id": 1, "version": 1, "token": "", "device": "x"}, Code.OUT_OF_STATE),
    ):
        answer = await device.ask(message)
        assert (answer["t"], answer["code"]) == ("error", code.number)
    assert await device.ask({"t": "ping", "id": 9}) == {"t": "pong", "id": 9}
    await device.socket.send_bytes(b"binary")
    assert await device.closed() == Close.NOT_TEXT.number
    big = await welcomed(http, stack, "bad-messages")
    await big.socket.send_str("x" * 300_000)
    assert await big.closed() == 1009


async def test_the_same_device_again_replaces_the_older(
    http: aiohttp.ClientSession, stack: Stack
) -> None:
    older = await welcomed(http, stack, "replaced")
    newer = await welcomed(http, stack, "replaced")
    assert await older.closed() == Close.REPLACED.number
    assert (await newer.ask({"t": "ping", "id": 1}))["t"] == "pong"


async def test_a_connection_that_has_carried_other_requests_becomes_a_socket(
    http: aiohttp.ClientSession, stack: Stack
) -> None:
    """As of a client that logs in over HTTP and keeps the connection."""
    url = stack.gateway_urls[0]
    async with aiohttp.TCPConnector(limit=1) as one, aiohttp.ClientSession(connector=one) as own:
        for _ in range(2):
            async with own.get(f"{url}/ready") as answer:
                assert answer.status == 200
                await answer.read()
        kept = next(iter(one._conns.values()))[0][0].transport
        async with own.get(f"{url}/v1/socket") as refused:
            assert refused.status == 400
            await refused.read()
        device = await welcomed(own, stack, "kept-alive")
        assert device.socket._response.connection.transport is kept  # type: ignore[union-attr]
        for id_ in range(3):
            assert await device.ask({"t": "ping", "id": id_}) == {"t": "pong", "id": id_}
        await device.socket.close()
    assert "Traceback" not in stack.log("gateway-1")


async def test_refusals_use_up_their_ordinal_through_the_log(
    http: aiohttp.ClientSession, stack: Stack
) -> None:
    device = await welcomed(http, stack, "refused-alice")
    outbox = os.urandom(16).hex()
    send = {"t": "send", "to": "refused-bob", "outbox": outbox, "round": 1}
    for ordinal, body, code in (
        (1, "", 110),
        (2, "x" * 16385, 111),
        (3, 7, 112),
        (4, "\ud800", 112),
    ):
        answer = await device.ask(
            {**send, "ordinal": ordinal, "key": os.urandom(16).hex(), "body": body}
        )
        assert (answer["t"], answer["ordinal"], answer["code"]) == ("refused", ordinal, code)
    answer = await device.ask(
        {**send, "ordinal": 5, "key": os.urandom(16).hex(), "body": "at last"}
    )
    assert (answer["t"], answer["seq"]) == ("sent", 1)
    answer = await device.ask(
        {**send, "ordinal": 9, "key": os.urandom(16).hex(), "body": "too early"}
    )
    assert (answer["t"], answer["next"], answer["reason"], answer["round"]) == (
        "out_of_step",
        6,
        "gap",
        1,
    )


async def test_random_frames_leave_it_serving(http: aiohttp.ClientSession, stack: Stack) -> None:
    chance = random.Random(3)
    async with Talk(stack, "random") as talk:
        alice, _ = await talk.join("alice"), await talk.join("bob")
        sent = 0
        while sent < 2000:
            device = await welcomed(http, stack, "random-frames")
            for _ in range(100):
                sent += 1
                noise = "".join(
                    chance.choice('{}[]":,tsendhlo0123\n\\u\ufffd')
                    for _ in range(chance.randint(0, 80))
                )
                try:
                    await device.socket.send_str(
                        chance.choice([noise, '{"t":"send",' + noise, '{"t":"ping","id":' + noise])
                    )
                except (ConnectionError, aiohttp.ClientError):
                    break
            await device.socket.close()
        await talk.say(alice, "bob", ["still serving"])
        await talk.settle()
        assert talk.verdict().clean


async def test_a_slow_reader_is_closed_and_others_are_served(
    http: aiohttp.ClientSession, stack: Stack
) -> None:
    """Fed directly through its gateway slot, more than its socket and the node will hold."""
    user = "slow-reader"
    slow = await welcomed(http, stack, user)
    transport = slow.socket._response.connection.transport  # type: ignore[union-attr]
    transport.pause_reading()  # type: ignore[union-attr]
    frame = json.dumps({"t": "pong", "id": 1, "padding": "x" * 60_000}).encode()
    record = encode_event(DeliveryRecord(SCHEMA_VERSION, [AnswerDelivered(user, "one", frame)] * 8))
    async with Talk(stack, "beside") as talk:
        alice, _ = await talk.join("alice"), await talk.join("bob")
        for slot in range(2):  # whichever of the two nodes' slots it is
            await asyncio.to_thread(
                kafka.produce,
                stack,
                DELIVERIES,
                slot,
                *[record] * (MAX_UNREAD_BYTES * 8 // len(record)),
            )
        await talk.say(alice, "bob", [f"served beside {n}" for n in range(20)])
        await talk.settle()
        assert talk.verdict().clean
    transport.resume_reading()  # type: ignore[union-attr]
    assert await slow.closed() in (Close.SLOW_READER.number, 1006)
    back = await welcomed(http, stack, user)
    assert (await back.ask({"t": "ping", "id": 1}))["t"] == "pong"


def get(url: str) -> tuple[int, str, dict[str, str]]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), dict(error.headers)


def test_pages_health_and_metrics(stack: Stack) -> None:
    url = stack.gateway_urls[0]
    status, page, headers = get(f"{url}/")
    assert status == 200
    assert "<title>Messenger</title>" in page
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    assert get(f"{url}/health")[0] == get(f"{url}/ready")[0] == get(f"{url}/app.js")[0] == 200
    assert get(f"{url}/../pyproject.toml")[0] == 404
    assert "messenger_gateway_connections" in get(f"{url}/metrics")[1]
    for path in ("/", "/performance/", "/health/", "/sequencer/"):
        assert get(stack.worker_urls[0] + path)[0] == 200, path
    assert get(f"{stack.worker_urls[0]}/sequencer/counters/99/")[0] == 404
