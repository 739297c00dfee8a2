"""Frames as MessagePack mean what they mean as JSON."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.edge.msgpack_frames import from_json, to_json
from gateway.edge.tokens import Login
from gateway.effects import Effect, Reply, Submit
from gateway.session import Session
from schemas.codec import decode_command
from schemas.codes import Code
from schemas.events import MessageSubmitted, RefusalSubmitted
from schemas.ids import user_id
from tests.harness.memory_node import SEND

EXAMPLES = Path(__file__).resolve().parents[2] / "schemas" / "examples" / "v1"
HELLO = {"t": "hello", "id": 1, "version": 1, "token": "any", "device": "phone"}


def lines(side: str) -> list[bytes]:
    return [
        line.encode()
        for path in sorted(EXAMPLES.glob(f"{side}--*.json"))
        for line in json.loads(path.read_text())["text"].splitlines()
    ]


def effects_of(*frames: Any) -> list[Effect]:
    alice = Login(user_id("alice"), None, 2e9, 1.0)
    session = Session(lambda token, device: alice, 2000.0, 0.0)
    session.receive(to_json(msgspec.msgpack.encode([HELLO])), 0.0)
    session.welcomed()
    return session.receive(to_json(msgspec.msgpack.encode(list(frames))), 1.0)


def codes(effects: list[Effect]) -> list[int]:
    return [json.loads(one.frame)["code"] for one in effects if isinstance(one, Reply)]


@pytest.mark.parametrize("line", lines("commands"))
def test_a_command_is_the_same_in_both(line: bytes) -> None:
    packed = msgspec.msgpack.encode([json.loads(line)] * 2)
    assert [decode_command(one) for one in to_json(packed).split(b"\n")] == [
        decode_command(line)
    ] * 2


@pytest.mark.parametrize("line", lines("server-frames"))
def test_a_frame_of_the_server_is_the_same_in_both(line: bytes) -> None:
    assert msgspec.msgpack.decode(from_json([line, line])) == [json.loads(line)] * 2


def test_text_is_kept_as_it_is() -> None:
    body = "two\nlines, \0 and \U0001f600"
    (effect,) = effects_of({**SEND, "body": body})
    assert isinstance(effect, Submit)
    assert isinstance(effect.item, MessageSubmitted)
    assert effect.item.body == body


@pytest.mark.parametrize("body", [b"bytes", 7, None, ["text"]])
def test_a_body_that_is_no_text_is_refused(body: object) -> None:
    (effect,) = effects_of({**SEND, "body": body})
    assert isinstance(effect, Submit)
    assert isinstance(effect.item, RefusalSubmitted)
    assert effect.item.code == Code.BODY_INVALID.number


def test_of_several_frames_each_has_its_own_answer() -> None:
    effects = effects_of({"t": "ping", "id": 1}, 7, msgspec.msgpack.Ext(5, b"x"), {"t": "ping"})
    assert json.loads(effects[0].frame) == {"t": "pong", "id": 1}  # type: ignore[union-attr]
    assert codes(effects[1:]) == [100, 100, 103]


@pytest.mark.parametrize(
    "message", [b"", b"\xc1", b"\x81\xa1t\xa4ping", b"\xdd\xff\xff\xff\xff", b"\x91" * 9999]
)
def test_what_is_no_array_of_frames_is_one_bad_frame(message: bytes) -> None:
    alice = Login(user_id("alice"), None, 2e9, 1.0)
    session = Session(lambda token, device: alice, 2000.0, 0.0)
    session.receive(to_json(msgspec.msgpack.encode([HELLO])), 0.0)
    session.welcomed()
    assert codes(session.receive(to_json(message), 1.0)) == [100]


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(0, 9), inner),
    max_leaves=8,
)


@given(st.lists(VALUES, max_size=4))
def test_whatever_comes_is_as_many_lines_of_json(frames: list[Any]) -> None:
    told = to_json(msgspec.msgpack.encode(frames))
    assert told.count(b"\n") == max(0, len(frames) - 1)
