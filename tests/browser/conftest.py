"""Browsers: real Chromium, headless, each with a profile of its own."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
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
