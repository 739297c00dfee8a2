"""Messages by HTTP request on a real stack: numbered, delivered, and repeated at another gateway
without a second message."""

import asyncio
import itertools
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from schemas.codes import Code
from tests.harness.device import ask_http, token_of
from tests.harness.stack import Stack
from tests.harness.talk import Talk

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

ROOT = Path(__file__).resolve().parents[2]


async def _post(
    http: aiohttp.ClientSession, stack: Stack, user: str, path: str, body: Any, gateway: int = 0
) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token_of(stack, user)}"}
    url = stack.gateway_urls[gateway] + path
    async with http.post(url, json=body, headers=headers) as answer:
        return answer.status, json.loads(await answer.read())


async def test_a_message_by_http_has_its_number_and_reaches_all_devices(stack: Stack) -> None:
    async with Talk(stack, "http-messages") as talk, aiohttp.ClientSession() as http:
        phone = await talk.join("alice")
        await talk.join("bob")
        alice, bob = talk.user("alice"), talk.user("bob")
        batch = {
            "messages": [
                {"to": bob, "key": f"{n:032x}", "outbox": "a" * 32, "ordinal": n, "body": f"m{n}"}
                for n in range(1, 65)
            ]
        }
        first = await _post(http, stack, alice, "/v1/messages/batch", batch)
        assert first[0] == 200
        assert [one["seq"] for one in first[1]["answers"]] == list(range(1, 65))
        again = await _post(http, stack, alice, "/v1/messages/batch", batch, gateway=1)
        assert again == first
        for n, answer in enumerate(first[1]["answers"], 1):
            talk.sent(answer["conversation"], answer["seq"], f"m{n}")
        await talk.say(phone, "bob", ["from the phone"])
        status, sent = await _post(
            http, stack, bob, "/v1/messages", {"to": alice, "key": "b" * 32, "body": "late"}
        )
        assert (status, sent["seq"]) == (200, 66)
        talk.sent(sent["conversation"], 66, "late")
        await talk.settle()
        assert talk.verdict().lines() == ["dense, once, in order, equal everywhere"]
        devices = (await ask_http(stack, alice, "GET", "/v1/devices"))[1]["devices"]
        assert [one["device"] for one in devices] == ["one"], "HTTP is no device"


async def test_an_own_message_is_edited_and_deleted_over_http(stack: Stack) -> None:
    alice, bob = "http-edits-alice", "http-edits-bob"
    name = f"{alice}:{bob}"
    keys = (f"{number:032x}" for number in itertools.count(1))

    async with aiohttp.ClientSession() as http:

        async def change(user: str, method: str, body: Any, gateway: int = 0) -> tuple[int, Any]:
            """Which the server may not know yet: a message is found a moment after it is sent."""
            headers = {"Authorization": f"Bearer {token_of(stack, user)}"}
            url = f"{stack.gateway_urls[gateway]}/v1/conversations/{name}/messages/1"
            async with asyncio.timeout(60):
                while True:
                    async with http.request(method, url, json=body, headers=headers) as answer:
                        if answer.status != 503:
                            return answer.status, await answer.json()
                    await asyncio.sleep(0.2)

        sent = await _post(
            http, stack, alice, "/v1/messages", {"to": bob, "key": next(keys), "body": "helo"}
        )
        assert sent[0] == 200
        edit = {"key": next(keys), "body": "hello"}
        status, edited = await change(alice, "PATCH", edit)
        assert (status, edited["seq"]) == (200, 2)
        assert await change(alice, "PATCH", edit, gateway=1) == (200, edited), "a repeat"
        status, problem = await change(bob, "DELETE", {"key": next(keys)})
        assert (status, problem["code"]) == (422, Code.CHANGE_NOT_YOURS.number)
        deletion = {"key": next(keys)}
        status, deleted = await change(alice, "DELETE", deletion)
        assert (status, deleted["seq"]) == (200, 3)
        assert await change(alice, "DELETE", deletion, gateway=1) == (200, deleted), "a repeat"
        path = f"/v1/conversations/{name}/messages"
        page = (await ask_http(stack, bob, "GET", path, gateway=1))[1]["messages"]
        assert [(one["seq"], one["body"], one.get("erased", False)) for one in page] == [
            *((1, "", True), (2, "", True), (3, "", True)),
        ]


async def test_who_is_blocked_over_http_cannot_write_over_http(stack: Stack) -> None:
    alice, bob = "http-blocks-alice", "http-blocks-bob"

    async def block(blocked: bool) -> None:
        async with http.put(
            f"{stack.gateway_urls[0]}/v1/people/{bob}",
            json={"blocked": blocked},
            headers={"Authorization": f"Bearer {token_of(stack, alice)}"},
        ) as answer:
            assert (answer.status, (await answer.json()).get("blocked", False)) == (200, blocked)

    async def write_until(status: int) -> Any:
        """A decision counts at the sender's gateway within moments."""
        async with asyncio.timeout(60):
            while True:
                ordinal = next(ordinals)
                place = {"outbox": "1" * 32, "ordinal": ordinal, "key": f"{ordinal:032x}"}
                message = {"to": alice, "body": "hi", **place}
                got, answer = await _post(http, stack, bob, "/v1/messages", message, gateway=1)
                if got == status:
                    return answer

    ordinals = itertools.count(1)
    async with aiohttp.ClientSession() as http:
        assert (await write_until(200))["seq"] == 1
        await block(True)
        told = (await ask_http(stack, alice, "GET", "/v1/people", gateway=1))[1]
        assert told["people"] == [{"t": "person", "user": bob, "blocked": True}]
        assert (await write_until(422))["code"] == Code.BLOCKED.number
        await block(False)
        await write_until(200)
        headers = {"Authorization": f"Bearer {token_of(stack, alice)}"}
        for path, says, answer in (
            (f"people/{bob}", {"contact": True}, {"t": "person", "user": bob, "contact": True}),
            ("privacy", {"reads": False}, {"t": "privacy", "reads": False}),
        ):
            url = f"{stack.gateway_urls[0]}/v1/{path}"
            async with http.put(url, json=says, headers=headers) as told:
                assert await told.json() == answer
