"""A session: every frame gets exactly one effect, whatever a device sends."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.edge.tokens import BadToken, Login, Why
from gateway.effects import Effect, End, Greet, Renew, Reply, Submit
from gateway.session import MAX_BAD_IN_A_ROW, Session, State
from schemas import ids
from schemas.codes import Close, Code
from schemas.events import MessageSubmitted, RefusalSubmitted
from schemas.frames import MAX_FRAMES
from tests.harness.memory_node import SEND

HELLO = {"t": "hello", "id": 1, "version": 1, "token": "good", "device": "phone"}


TOKENS = {
    "good": Login(ids.UserId("alice"), None, 100, 10),
    "fresh": Login(ids.UserId("alice"), None, 200, 20),
    "bob's": Login(ids.UserId("bob"), None, 200, 20),
}


def check_token(token: str, device: str) -> Login:
    if token in TOKENS:
        return TOKENS[token]
    raise BadToken("no", Why.REVOKED if token == "revoked" else Why.WRONG)


def new() -> Session:
    return Session(check_token, rate=100, now=0)


def online() -> Session:
    session = new()
    assert receive(session, HELLO) == [
        Greet(1, ids.UserId("alice"), ids.DeviceId("phone"), stay=False)
    ]
    session.welcomed()
    return session


def receive(session: Session, *frames: object, now: float = 0) -> list[Effect]:
    return session.receive("\n".join(json.dumps(frame) for frame in frames).encode(), now)


def error_code(effect: Effect) -> int:
    assert isinstance(effect, Reply)
    code: int = json.loads(effect.frame)["code"]
    return code


def test_a_send_is_submitted() -> None:
    (effect,) = receive(online(), SEND)
    item = MessageSubmitted("alice:bob", "alice", "phone", bytes(16), 1, b"\xff" * 16, 1, "hi")
    assert effect == Submit(item, "bob", True)


@pytest.mark.parametrize(
    ("changed", "close"),
    [
        ({"token": "bad"}, Close.UNAUTHORIZED),
        ({"token": "revoked"}, Close.REVOKED),
        ({"version": 0}, Close.VERSION_UNSUPPORTED),
        ({"version": 2}, Close.VERSION_UNSUPPORTED),
        ({"device": "no/slash"}, Close.BAD_PROTOCOL),
        ({"t": "ping"}, Close.BAD_PROTOCOL),
    ],
)
def test_a_bad_hello_ends_the_session(changed: dict[str, object], close: Close) -> None:
    session = new()
    assert receive(session, {**HELLO, **changed}) == [End(close)]
    assert session.state is State.CLOSED


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"to": "alice"}, Code.BAD_FIELD),
        ({"to": "No Name"}, Code.BAD_FIELD),
        ({"to": 5}, Code.BAD_FIELD),
        ({"outbox": "xyz"}, Code.BAD_FIELD),
        ({"key": "F" * 32}, Code.BAD_FIELD),
        ({"ordinal": 0}, Code.BAD_FIELD),
        ({"ordinal": 2**60}, Code.BAD_FIELD),
        ({"round": -1}, Code.BAD_FIELD),
        ({"round": 2**70}, Code.BAD_FIELD),
        ({"t": "hologram"}, Code.UNKNOWN_FRAME),
        ({"t": 7}, Code.BAD_FIELD),
        (HELLO, Code.OUT_OF_STATE),
    ],
)
def test_bad_frames_get_a_code_and_the_session_goes_on(
    changed: dict[str, object], code: Code
) -> None:
    session = online()
    (effect,) = receive(session, {**SEND, **changed})
    assert error_code(effect) == code.number
    assert isinstance(receive(session, SEND)[0], Submit)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("", Code.BODY_EMPTY),
        ("x" * 16385, Code.BODY_TOO_LARGE),
        (5, Code.BODY_INVALID),
        ("\ud800", Code.BODY_INVALID),
    ],
)
def test_a_body_that_can_never_be_uses_up_its_ordinal(body: object, code: Code) -> None:
    (effect,) = receive(online(), {**SEND, "body": body})
    assert isinstance(effect, Submit)
    assert isinstance(effect.item, RefusalSubmitted)
    assert (effect.item.ordinal, effect.item.code) == (1, code.number)


def test_bytes_that_are_not_utf8_are_no_frame() -> None:
    session = online()
    (effect,) = session.receive(json.dumps(SEND).encode().replace(b"hi", b"\xff\xfe"), 0)
    assert error_code(effect) == Code.BAD_FRAME.number


@pytest.mark.parametrize("depth", [100, 2000, 50_000])
@pytest.mark.parametrize(
    "inside",
    ['{"t":"ping","id":1,"new":%s}', '{"t":"send","to":"bob","body":%s}', "%s", '{"t":%s}'],
)
def test_deep_nesting_is_an_error_like_another(depth: int, inside: str) -> None:
    session = online()
    for nested in ("[" * depth + "]" * depth, "[" * depth, '{"a":' * depth + "1" + "}" * depth):
        (effect,) = session.receive((inside % nested).encode(), 0)
        assert isinstance(effect, Reply)
    assert isinstance(receive(session, SEND)[0], Submit)


@pytest.mark.parametrize("surrogate", [b"\xed\xa0\x80", b"\\ud800"])
def test_a_field_name_that_is_no_text_is_an_error_like_another(surrogate: bytes) -> None:
    session = online()
    (effect,) = session.receive(
        json.dumps({**SEND, "body": 5}).encode().replace(b'"key"', b'"k' + surrogate + b'ey"'), 0
    )
    assert error_code(effect) == Code.BAD_FIELD.number


def test_a_send_without_a_body_is_no_send() -> None:
    (effect,) = receive(online(), {key: value for key, value in SEND.items() if key != "body"})
    assert error_code(effect) == Code.BAD_FIELD.number


@pytest.mark.parametrize(
    ("frame", "field"),
    [
        ({**SEND, "to": "alice"}, "to"),
        ({**SEND, "to": "secret!"}, "to"),
        ({**SEND, "outbox": "secret"}, "outbox"),
        ({**SEND, "key": "secret"}, "key"),
        ({**SEND, "ordinal": "secret"}, "ordinal"),
        ({**SEND, "ordinal": 0}, "ordinal"),
        ({**SEND, "body": 5, "round": -1}, "round"),
        ({key: value for key, value in SEND.items() if key != "body"}, "body"),
        ({"t": "sync", "id": 1, "cursors": {"secret:user": -1}}, "cursors"),
        ({"t": "get_marks", "id": 1, "conversations": ["alice:bob", 5]}, "conversations"),
        ({"t": "watch", "id": 1, "users": ["secret"] * 201}, "users"),
        ({"t": "history", "id": 1, "conversation": "alice:bob", "limit": 101}, "limit"),
        ({"t": "ping"}, "id"),
    ],
)
def test_the_error_for_a_bad_field_names_it_and_not_its_value(
    frame: dict[str, object], field: str
) -> None:
    (effect,) = receive(online(), frame)
    assert isinstance(effect, Reply)
    error = json.loads(effect.frame)
    assert error["code"] == Code.BAD_FIELD.number
    assert error["reason"] == f"{Code.BAD_FIELD.text}: {field}"


def test_a_flooding_device_is_told_so_and_served_again_later() -> None:
    session = online()
    effects = receive(session, *[SEND] * 250)
    assert (
        sum(isinstance(effect, Submit) for effect in effects) == 199
    )  # 2 x 100, one spent on hello
    assert error_code(effects[-1]) == Code.RATE_LIMITED.number
    assert isinstance(receive(session, SEND, now=0.1)[0], Submit)


def test_too_many_frames_in_one_message_end_the_session() -> None:
    """Each costs its line and its answer: 131,072 of them held up everybody else's frames for half
    a second."""
    session = online()
    assert len(receive(session, *[{"t": "ping", "id": 1}] * MAX_FRAMES)) == MAX_FRAMES
    assert receive(session, *[{"t": "ping", "id": 1}] * (MAX_FRAMES + 1)) == [
        End(Close.BAD_PROTOCOL)
    ]


def test_only_bad_frames_end_the_session_some_time() -> None:
    session = online()
    effects = receive(session, *[{"t": "ping"}] * (MAX_BAD_IN_A_ROW + 5))
    assert effects[-1] == End(Close.BAD_PROTOCOL)
    assert len(effects) == MAX_BAD_IN_A_ROW + 1


def test_nothing_is_sent_before_the_welcome() -> None:
    session = new()
    receive(session, HELLO)
    (effect,) = receive(session, SEND)
    assert error_code(effect) == Code.OUT_OF_STATE.number


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
)
near_frames = st.builds(
    lambda base, field, value: {**base, field: value},
    st.sampled_from([HELLO, SEND, {"t": "ping", "id": 1}]),
    st.sampled_from(
        ["t", "id", "to", "outbox", "ordinal", "key", "body", "round", "token", "device", "new"]
    ),
    json_values,
)


@given(
    st.lists(
        st.binary(max_size=40) | near_frames.map(lambda frame: json.dumps(frame).encode()),
        max_size=8,
    ),
    st.booleans(),
)
def test_whatever_comes_each_frame_has_one_effect(messages: list[bytes], greeted: bool) -> None:
    session = online() if greeted else new()
    for message in messages:
        closed = session.state is State.CLOSED
        effects = session.receive(message, 0)
        lines = [line for line in message.split(b"\n") if line.strip()]
        assert closed == (not effects)
        if session.state is not State.CLOSED:
            assert len(effects) == max(1, len(lines))
        if session.state is State.GREETING:
            session.welcomed()


def test_a_fresh_token_of_the_same_user_takes_the_place_of_the_old_one() -> None:
    session = online()
    assert (session.issued, session.expires) == (10, 100)
    assert receive(session, {"t": "renew", "id": 7, "token": "fresh"}, now=1) == [Renew(7, 200)]
    assert (session.issued, session.expires) == (20, 200)


@pytest.mark.parametrize(
    ("token", "code"),
    [
        ("bad", Code.UNAUTHORIZED),
        ("revoked", Code.TOKEN_REVOKED),
        ("bob's", Code.TOKEN_OF_ANOTHER),
    ],
)
def test_a_token_that_is_not_taken_changes_nothing(token: str, code: Code) -> None:
    session = online()
    (effect,) = receive(session, {"t": "renew", "id": 7, "token": token}, now=1)
    assert error_code(effect) == code.number
    assert (session.user, session.issued, session.expires) == ("alice", 10, 100)


def test_tokens_are_checked_once_a_second_and_only_after_the_welcome() -> None:
    session = online()
    fresh = {"t": "renew", "id": 7, "token": "fresh"}
    first, second = receive(session, fresh, fresh, now=1)
    assert isinstance(first, Renew)
    assert error_code(second) == Code.RATE_LIMITED.number
    assert isinstance(receive(session, fresh, now=2)[0], Renew)
    assert receive(new(), fresh) == [End(Close.BAD_PROTOCOL)]
