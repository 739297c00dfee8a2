"""How the token for workers' pages goes to workers only."""

import threading
import urllib.error
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from ops.worker_pages import ask


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
