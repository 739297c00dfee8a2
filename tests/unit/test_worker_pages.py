"""Where `messenger` finds the pages of workers, and which of them get a token."""

import threading
import urllib.error
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from connectors.environment import SettingsError
from ops.worker_pages import ask, login, page_url


class _Redirecting(BaseHTTPRequestHandler):
    asked: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["Authorization"]))
        self.send_response(302 if self.path == "/page/" else 200)
        host = self.headers["Host"].replace("127.0.0.1", "localhost")
        self.send_header("Location", f"http://{host}/elsewhere/")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    _Redirecting.asked = []
    with HTTPServer(("127.0.0.1", 0), _Redirecting) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_token_goes_along_no_redirect(
    server: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESSENGER_STATUS_TOKEN", "secret")
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(f"http://127.0.0.1:{server.server_port}/page/", 10)
    refused.value.close()
    assert refused.value.code == 302
    assert _Redirecting.asked == [("/page/", "Bearer secret")]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That of a local stack of SECURE=1, in an environment that says nothing else."""
    for name in ("MESSENGER_STATUS_TOKEN", "MESSENGER_WORKER_CA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MESSENGER_HOME", str(tmp_path))
    (tmp_path / "tls").mkdir()
    (tmp_path / "status-token").write_text("of the stack\n")
    return tmp_path


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("127.0.0.1:8416", "https://127.0.0.1:8416"),
        ("localhost:8416", "https://localhost:8416"),
        ("[::1]:8416", "https://[::1]:8416"),
        ("worker-1:6066", "http://worker-1:6066"),
        ("10.0.0.7:6066", "http://10.0.0.7:6066"),
        ("http://127.0.0.1:8416/", "http://127.0.0.1:8416"),
        ("https://worker-1:6066", "https://worker-1:6066"),
    ],
)
def test_a_local_stack_says_nothing_of_other_machines(home: Path, address: str, url: str) -> None:
    assert page_url(address) == url


def test_with_an_authority_workers_are_asked_by_tls(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESSENGER_WORKER_CA", "workers.pem")
    assert page_url("worker-1:6066") == "https://worker-1:6066"
    assert page_url("http://worker-1:6066") == "http://worker-1:6066"


@pytest.mark.parametrize(
    "wrong", ["", "file:///etc/passwd", "http://", "worker-1:port", "http://[::1", "::1:8416"]
)
def test_what_is_no_address_is_told(wrong: str) -> None:
    with pytest.raises(SettingsError, match="is no address of a worker or gateway: HOST:PORT"):
        page_url(wrong)


def test_the_token_of_the_local_stack_stays_on_this_machine(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert login("https://127.0.0.1:8416/") == {"Authorization": "Bearer of the stack"}
    assert login("https://worker-1:6066/") == {}
    monkeypatch.setenv("MESSENGER_STATUS_TOKEN", "of the operator")
    assert login("https://worker-1:6066/") == {"Authorization": "Bearer of the operator"}
