"""Calls of an endpoint: what they say, how they are signed, and where they go."""

import base64
import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from agents.rules.webhook import body_of, headers_of, id_of, keys_of
from connectors.webhook import EndpointFailed, HttpEndpoint
from schemas.events import NotificationRaised, NotificationsCancelled

RAISED = NotificationRaised("alice:bob", "bob", "alice", 7, 1_800_000_000_000, 3, "")
OVER = NotificationsCancelled("alice:bob", "bob", 7, 0)


def test_a_call_is_signed_as_the_standard_s_own_example() -> None:
    keys = keys_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = headers_of(
        "msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}', keys, 1_614_265_330_999
    )
    assert headers == {
        "content-type": "application/json",
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_each_key_signs_so_that_one_can_be_replaced() -> None:
    one, two = (f"whsec_{base64.b64encode(key * 24).decode()}" for key in (b"1", b"2"))
    together = headers_of("id", b"", keys_of(f"{one} {two}"), 0)["webhook-signature"]
    apart = [headers_of("id", b"", keys_of(key), 0)["webhook-signature"] for key in (one, two)]
    assert together == " ".join(apart)
    assert apart[0] != apart[1]


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "secret",
        "whsec_",
        "whsec_!!!!",
        f"whsec_{base64.b64encode(b'x' * 23).decode()}",
        f"whsec_{base64.b64encode(b'x' * 65).decode()}",
        base64.b64encode(b"x" * 24).decode(),
    ],
)
def test_a_secret_that_is_none_is_refused(secret: str) -> None:
    with pytest.raises(ValueError, match=r"key|whsec_"):
        keys_of(secret)


def test_the_body_says_what_the_record_says_and_no_text_unless_there_is_one() -> None:
    assert json.loads(body_of(RAISED, 1_800_000_001_500)) == {
        "type": "notification.raised",
        "timestamp": "2027-01-15T08:00:01.500Z",
        "data": {
            "user": "bob",
            "conversation": "alice:bob",
            "sender": "alice",
            "seq": 7,
            "time": 1_800_000_000_000,
            "unread": 3,
        },
    }
    with_text = NotificationRaised("alice:bob", "bob", "alice", 7, 0, 3, "Lunch?")
    assert json.loads(body_of(with_text, 0))["data"]["text"] == "Lunch?"
    assert json.loads(body_of(OVER, 0))["data"] == {
        "user": "bob",
        "conversation": "alice:bob",
        "up_to": 7,
        "unread": 0,
    }


def test_repeats_have_one_id_and_others_have_others() -> None:
    repeat = NotificationRaised("alice:bob", "bob", "alice", 7, 1_800_000_000_000, 1, "")
    assert id_of(repeat) == id_of(RAISED) != id_of(OVER)
    assert "." not in id_of(RAISED)


@pytest.fixture
async def server() -> AsyncIterator[tuple[str, list[web.Request], list[web.Response]]]:
    """A URL, the requests that came there, and what will be answered (200 afterwards)."""
    came: list[web.Request] = []
    answers: list[web.Response] = []

    async def take(request: web.Request) -> web.Response:
        came.append(request)
        await request.read()
        return answers.pop(0) if answers else web.Response()

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/hook", came, answers
    await runner.cleanup()


async def test_a_call_arrives_as_it_was_made(
    server: tuple[str, list[web.Request], list[web.Response]],
) -> None:
    url, came, _ = server
    endpoint = HttpEndpoint(url, False)
    await endpoint.call(b"{}", headers_of("id", b"{}", [b"k" * 24], 0))
    await endpoint.close()
    (request,) = came
    assert (request.method, request.path, await request.read()) == ("POST", "/hook", b"{}")
    assert request.headers["webhook-id"] == "id"


@pytest.mark.parametrize("status", [302, 400, 410, 503])
async def test_whatever_is_not_taken_has_failed_and_no_redirect_is_followed(
    server: tuple[str, list[web.Request], list[web.Response]], status: int
) -> None:
    url, came, answers = server
    answers.append(web.Response(status=status, headers={"location": "/elsewhere"}))
    endpoint = HttpEndpoint(url, False)
    with pytest.raises(EndpointFailed, match=str(status)):
        await endpoint.call(b"", {})
    await endpoint.close()
    assert [request.path for request in came] == ["/hook"]


async def test_nobody_there_has_failed() -> None:
    endpoint = HttpEndpoint("http://127.0.0.1:1/", False)
    with pytest.raises(EndpointFailed):
        await endpoint.call(b"", {})
    await endpoint.close()


@pytest.mark.parametrize(
    "url", ["", "nothing", "ftp://example.org/", "http://", "file:///etc/passwd"]
)
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|host"):
        HttpEndpoint(url, False)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "[::1]", "10.0.0.1", "192.168.1.1", "169.254.169.254", "[fd00::1]", "0.0.0.0"],
)
def test_a_private_address_is_refused_if_the_operator_says_so(host: str) -> None:
    with pytest.raises(ValueError, match="private"):
        HttpEndpoint(f"http://{host}/", True)
    HttpEndpoint(f"http://{host}/", False)


async def test_a_name_of_a_private_address_is_not_called_if_the_operator_says_so(
    server: tuple[str, list[web.Request], list[web.Response]],
) -> None:
    url, came, _ = server
    named = url.replace("127.0.0.1", "localhost")
    for public_only in (True, False):
        endpoint = HttpEndpoint(named, public_only)
        if public_only:
            with pytest.raises(EndpointFailed):
                await endpoint.call(b"", {})
            assert came == []
        else:
            await endpoint.call(b"", {})
            assert len(came) == 1
        await endpoint.close()
