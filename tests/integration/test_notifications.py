"""A notifier and a webhook beside the whole real stack: who has no device connected is notified,
until they have read."""

import asyncio
import base64
import hmac
import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from schemas.codec import decode_notification
from schemas.events import NotificationRaised, NotificationsCancelled
from schemas.ids import partition_of
from schemas.topics import NOTIFICATIONS
from tests.harness import kafka
from tests.harness.memberships import PARTITIONS
from tests.harness.stack import Stack
from tests.harness.talk import Talk
from tests.harness.worker import Worker

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]


PREFIX = "notified"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Endpoint:
    """A server that fails twice, and then takes calls. Other tests' notifications it takes, and
    forgets."""

    def __init__(self) -> None:
        self.failing = 2
        self.calls: list[tuple[str, bytes, str, str]] = []
        """The id, the body, the time and the signature of each."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}/notifications"
        self._thread = Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                headers = self.headers
                body = self.rfile.read(int(headers["content-length"]))
                names = "webhook-id", "webhook-timestamp", "webhook-signature"
                id_, time, signature = (headers[name] for name in names)
                ours = PREFIX.encode() in body
                if ours:
                    endpoint.calls.append((id_, body, time, signature))
                    endpoint.failing -= 1
                self.send_response(503 if ours and endpoint.failing >= 0 else 204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    endpoint = Endpoint()
    yield endpoint
    endpoint.close()


@pytest.fixture
def worker(
    stack: Stack, tmp_path: Path, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Worker]:
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    monkeypatch.setenv("MESSENGER_WEBHOOK_URL", endpoint.url)
    monkeypatch.setenv("MESSENGER_WEBHOOK_SECRET_FILE", str(secret))
    worker = Worker(stack, 5, "notifier webhook", tmp_path)
    worker.start()
    try:
        worker.wait_healthy(60)
        yield worker
    finally:
        worker.end()


def said(stack: Stack, conversation: str) -> tuple[dict[int, int], dict[int, int]]:
    """message → unread of the notifications of a conversation, and up to → unread of what is
    over."""
    raised, over = {}, {}
    for record in kafka.read_all(stack, NOTIFICATIONS, partition_of(conversation, PARTITIONS)):
        one = decode_notification(record.value).notification
        if one.conversation != conversation:
            continue
        if isinstance(one, NotificationRaised):
            raised[one.seq] = one.unread
        elif isinstance(one, NotificationsCancelled):
            over[one.up_to] = one.unread
    return raised, over


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.2)


async def test_who_has_no_device_connected_is_notified_until_they_have_read(
    stack: Stack, worker: Worker, endpoint: Endpoint
) -> None:
    async with Talk(stack, PREFIX) as talk:
        phone, _ = await talk.join("alice"), await talk.join("carol")
        alice, bob, carol = talk.user("alice"), talk.user("bob"), talk.user("carol")
        away, here = f"{alice}:{bob}", f"{alice}:{carol}"
        await talk.say(phone, "carol", ["to somebody who is here"])
        await talk.say(phone, "bob", ["one", "two"])
        await eventually(lambda: said(stack, away) == ({1: 1, 2: 2}, {}))
        assert said(stack, here) == ({}, {})
        device = await talk.join("bob")
        device.read(away, 2)
        await eventually(lambda: said(stack, away)[1] == {2: 0})
        await eventually(lambda: len({id_ for id_, *_ in endpoint.calls}) == 3)
    first = [body for id_, body, *_ in endpoint.calls if id_ == endpoint.calls[0][0]]
    assert (len(first), len(set(first))) == (3, 1), "it came again, as it was"
    told = {id_: json.loads(body) for id_, body, *_ in endpoint.calls}.values()
    assert [(one["type"], one["data"]["user"], one["data"]["unread"]) for one in told] == [
        ("notification.raised", bob, 1),
        ("notification.raised", bob, 2),
        ("notification.cancelled", bob, 0),
    ]
    for id_, body, time, signature in endpoint.calls:
        key = base64.b64decode(SECRET.removeprefix("whsec_"))
        signed = hmac.digest(key, f"{id_}.{time}.".encode() + body, "sha256")
        assert signature == f"v1,{base64.b64encode(signed).decode()}"
