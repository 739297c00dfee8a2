"""What the gateway's HTTP client takes for an answer of a worker."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.queries.worker_transport import parse

ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\ncontent-LENGTH: 14\r\n"
    b"Server: Faust\r\n\r\n{}\r\n\r\nan answer"[:-1]
)


def test_an_answer_is_its_status_and_its_body() -> None:
    assert parse(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") == (200, b"ok", False)
    assert parse(b"HTTP/1.1 503 \r\nContent-Length: 0\r\n\r\n") == (503, b"", False)
    assert parse(b"HTTP/1.1 410\r\nContent-Length:0\r\nConnection: Close\r\n\r\n") == (
        410,
        b"",
        True,
    )


@given(cut=st.integers(0, len(ANSWER) - 1))
def test_a_part_of_an_answer_is_none(cut: int) -> None:
    assert parse(ANSWER[:cut]) is None
    assert parse(ANSWER) == (200, b"{}\r\n\r\nan answe", False)


@pytest.mark.parametrize(
    "received",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n1",
        b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n1",
        b"HTTP/1.1 OK\r\nContent-Length: 1\r\n\r\n1",
        b"HTTP/1.1\r\nContent-Length: 1\r\n\r\n1",
        b"SSH-2.0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n12",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000,
    ],
)
def test_what_is_no_answer_of_a_worker_is_refused(received: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        parse(received)


@given(received=st.binary(max_size=80))
def test_nothing_else_is_raised(received: bytes) -> None:
    for value in (received, b"HTTP/1.1 " + received, ANSWER[:40] + received):
        with contextlib.suppress(ValueError):
            parse(value)
