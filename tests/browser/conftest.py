"""Browsers: real Chromium, headless, each with a profile of its own."""

import functools
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from selenium import webdriver

_FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]

_WEB = Path(__file__).resolve().parents[2] / "clients" / "web"

Open = Callable[..., webdriver.Chrome]


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    """A browser's folder that outlives it."""
    return tmp_path / "profile"


def start(
    folder: Path | str, width: int = 1000, height: int = 700, dark: bool = False
) -> webdriver.Chrome:
    """A browser that keeps what it keeps in `folder`; quit it."""
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in [*_FLAGS, f"--user-data-dir={folder}", f"--window-size={width},{height}"]:
        options.add_argument(flag)
    options.accept_insecure_certs = True  # of a stack of SECURE=1, whose authority is its own
    if dark:
        options.add_argument("--force-dark-mode")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(
        options=options, service=webdriver.ChromeService("/usr/bin/chromedriver")
    )


@pytest.fixture
def open_page() -> Iterator[Open]:
    """Opens a browser of its own at a URL."""
    with ExitStack() as exits:

        def open_page(
            url: str,
            width: int = 1000,
            height: int = 700,
            dark: bool = False,
            profile: Path | None = None,
        ) -> webdriver.Chrome:
            own = exits.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
            driver = start(profile or own, width, height, dark)
            exits.callback(driver.quit)
            driver.get(url)
            return driver

        yield open_page


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    """One browser for a module whose tests leave nothing behind in it."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        driver = start(folder)
        yield driver
        driver.quit()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The URL of the page's files, with no server of the messenger behind them."""
    handler = functools.partial(_Quiet, directory=str(_WEB))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()
