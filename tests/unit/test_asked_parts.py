"""What processes say when each is asked: those whose answer is of no use are left out."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from ops.asked_parts import asked_parts

WELL = b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"problems":[]}'


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """The URL of a process that gives each question this answer, and then ends the connection."""

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                while b"\r\n\r\n" not in connection.recv(4096):
                    pass
                connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as threads:
        threads.submit(serve)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            listening.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    "answer",
    [
        b'HTTP/1.1 503 Unwell\r\nContent-Length: 100\r\n\r\n{"problems":',
        b'HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n{"problems":["\xff"]}',
        b"",
    ],
    ids=["one that dies while it answers", "no text", "nothing"],
)
def test_who_does_not_answer_well_hides_no_other(answer: bytes) -> None:
    with answering(answer) as bad, answering(WELL) as good:
        assert [seen.report.address for seen in asked_parts([bad, good])] == [good]
