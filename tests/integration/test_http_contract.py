"""Random requests, drawn from the OpenAPI document, at a running gateway: every answer is one that
the document declares, and none is a fault of the server."""

import http.client
import json
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway.edge.http_types import Deciding, Deletion, NewMessage, NewMessages, NewText, Showing
from gateway.edge.openapi import OPERATIONS, PATH, Operation
from gateway.edge.problems import CONTENT_TYPE, ProblemDetails
from schemas.frames import Message
from tests.harness.device import token_of
from tests.harness.stack import Stack
from tests.harness.talk import Talk

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

USERS = "contract-alice", "contract-bob"
CONVERSATION = ":".join(USERS)

_number = st.one_of(st.integers(-2, 120), st.sampled_from([2**31, 2**53 - 1, 2**53, 10**17])).map(
    str
)
_text = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        [*USERS, CONVERSATION, "phone", f"1795585892978-{CONVERSATION}", "%ff", "..\\"]
    ),
)
_value = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), _text, st.just([])
)


_MESSAGE = {"to": USERS[1], "key": "0" * 32, "body": "hi"}
_GOOD: dict[type[msgspec.Struct], Any] = {
    NewMessage: _MESSAGE,
    NewText: {"key": "2" * 32, "body": "hello"},
    Deletion: {"key": "3" * 32},
    Showing: {"reads": True},
    Deciding: {"blocked": True, "contact": False},
    NewMessages: {"messages": [{**_MESSAGE, "key": "1" * 32}]},
}
"""Bodies that chance would hardly make."""
_PLACES = {"conversation": CONVERSATION, "device": "phone", "user": USERS[0], "seq": "1"}


def _fitting(one: Operation) -> tuple[str, bytes | None, dict[str, str]]:
    """As `_requests`: what chance may never make as a whole."""
    path = one.path.format(**{name: quote(good, safe="") for name, good in _PLACES.items()})
    body = json.dumps(_GOOD.get(one.body)).encode() if one.body is not None else None
    return path, body, {"Content-Type": "application/json", "Authorization": "user"}


@st.composite
def _requests(draw: st.DrawFn, one: Operation) -> tuple[str, bytes | None, dict[str, str]]:
    """(path with query, body, headers)."""
    path = one.path
    for name, good in _PLACES.items():
        value = draw(st.one_of(st.just(good), _text)) or "x"
        path = path.replace(f"{{{name}}}", quote(value, safe=""))
    asked = {
        each.name: draw(st.one_of(_number, _text)) for each in one.query if draw(st.booleans())
    }
    headers = {"Content-Type": draw(st.sampled_from(["application/json"] * 4 + ["text/plain", ""]))}
    headers["Authorization"] = draw(st.sampled_from(["user"] * 6 + ["", "Bearer", "Bearer x.y.z"]))
    body = None
    if one.body is not None:
        fields = [field.encode_name for field in msgspec.structs.fields(one.body)]
        body = draw(
            st.one_of(
                st.dictionaries(st.sampled_from([*fields, "other"]), _value).map(
                    lambda value: json.dumps(value).encode()
                ),
                st.binary(max_size=50),
                st.just(json.dumps(_GOOD.get(one.body)).encode()),
            )
        )
    return path + ("?" + urlencode(asked) if asked else ""), body, headers


async def test_there_is_something_to_ask_for(stack: Stack) -> None:
    async with Talk(stack, "contract") as talk:
        alice = await talk.join("alice")
        await talk.join("bob")
        await talk.say(alice, "bob", ["one", "two", "three"])
        assert {talk.user("alice"), talk.user("bob")} == set(USERS)


@pytest.mark.parametrize("one", OPERATIONS, ids=lambda one: f"{one.method} {one.path}")
def test_every_answer_is_declared(stack: Stack, one: Operation) -> None:
    address = urlsplit(stack.gateway_urls[0])
    assert address.hostname is not None
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=20)

    def ask(
        method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, str, bytes]:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        kind = answer.headers.get_content_type() if "Content-Type" in answer.headers else ""
        return answer.status, kind, answer.read()

    document: dict[str, Any] = json.loads(ask("GET", PATH, None, {})[2])
    declared = document["paths"][one.path][one.method]["responses"]
    user = USERS[0] if "conversation" in one.path else f"contract-{one.method}"  # quotas
    bearer = f"Bearer {token_of(stack, user)}"
    seen: set[int] = set()

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(_requests(one))
    @example(_fitting(one))
    def check(request: tuple[str, bytes | None, dict[str, str]]) -> None:
        path, body, headers = request
        if headers["Authorization"] == "user":
            headers = {**headers, "Authorization": bearer}
        status, kind, answer = ask(one.method.upper(), path, body, headers)
        seen.add(status)
        if status == 404:  # what was drawn for a part of the path makes another path of it
            assert "{" in one.path
            declared_kinds = {CONTENT_TYPE}
        else:
            assert status != 500, path
            assert str(status) in declared, (status, path)
            declared_kinds = set(declared[str(status)].get("content", {""}))
        assert kind in declared_kinds, (status, kind, path)
        if kind == CONTENT_TYPE:
            assert msgspec.json.decode(answer, type=ProblemDetails).status == status
        elif one.answer is not None and not isinstance(one.answer, str):
            told = msgspec.json.decode(answer, type=one.answer)
            for frame in getattr(told, "messages", ()):
                msgspec.json.decode(frame, type=Message)
            for each in getattr(told, "conversations", ()):
                msgspec.json.decode(each.last, type=Message | None)

    check()
    connection.close()
    assert one.status in seen or one.token == "operator" or one.path == "/v1/login"
