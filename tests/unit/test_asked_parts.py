"""What processes say when each is asked, and what is told of those whose answer is of no use."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from click.testing import CliRunner

from ops.asked_parts import asked_parts
from ops.commands.status import command
from ops.exits import UNREACHABLE, USAGE
from tests.harness.ports import free_base_port

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
    ("answer", "why"),
    [
        (b'HTTP/1.1 503 Unwell\r\nContent-Length: 100\r\n\r\n{"problems":', "does not answer: "),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n{"problems":["\xff"]}', "neither"),
        (b"", "does not answer: "),
        (b'HTTP/1.1 401 No\r\nContent-Length: 13\r\n\r\n{"error":"no"}', "set MESSENGER_STATUS"),
    ],
    ids=["one that dies while it answers", "no text", "nothing", "it wants a token"],
)
def test_a_process_that_does_not_answer_well_hides_no_other(answer: bytes, why: str) -> None:
    with answering(answer) as bad, answering(WELL) as good:
        asked = asked_parts([bad, good])
    assert [seen.report.address for seen in asked.parts] == [good]
    (line,) = asked.silent
    assert line.startswith(f"{bad} ")
    assert why in line


def test_status_says_what_is_wrong_with_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address without http:// ended in a traceback."""
    monkeypatch.setenv("MESSENGER_KAFKA", f"127.0.0.1:{free_base_port()}")
    monkeypatch.setenv("MESSENGER_REDIS", f"redis://127.0.0.1:{free_base_port()}")
    for address, line, code in (
        (f"127.0.0.1:{free_base_port()}", "messenger: http://127.0.0.1:", UNREACHABLE),
        ("file:///etc/passwd", "messenger: file:///etc/passwd is no address", USAGE),
    ):
        shown = CliRunner().invoke(command, ["--ask", address])
        assert (shown.exit_code, shown.stderr.startswith(line)) == (code, True), shown.stderr
