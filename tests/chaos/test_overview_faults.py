"""Each planted fault is on the overview page within ten seconds, with its name."""

import signal
import tempfile
from collections.abc import Iterator

import pytest
from selenium import webdriver

from tests.browser.conftest import start
from tests.browser.overview import findings, keep_picture, wait_for_finding, wait_until_well
from tests.harness.stack import Stack

pytestmark = [pytest.mark.real, pytest.mark.chaos, pytest.mark.browser]
PARTS = {"archivers": 1, "cursors": None, "presence": None}

_SEEN_SECONDS = 10.0


@pytest.fixture
def page(lab: Stack) -> Iterator[webdriver.Chrome]:
    """The archiver's, which no test here kills."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        browser = start(folder, 1280)
        browser.get(f"http://127.0.0.1:{lab.base_port + 13}/")
        wait_until_well(browser, 30)
        yield browser
        browser.quit()


def test_each_fault_is_said_by_the_page_and_goes_when_it_is_over(
    lab: Stack, page: webdriver.Chrome
) -> None:
    for service in ("clickhouse", "redis"):
        lab.kill(service, signal.SIGSTOP)
        try:
            wait_for_finding(page, f"{service}: ", _SEEN_SECONDS)
            assert "no sign of life" not in findings(page), "while Redis is away nobody can report"
        finally:
            lab.kill(service, signal.SIGCONT)
        wait_until_well(page, 40)
    lab.kill("worker-1", signal.SIGSTOP)
    lab.kill("gateway-1", signal.SIGSTOP)
    try:
        wait_for_finding(page, "worker 127.0.0.1", _SEEN_SECONDS)
        wait_for_finding(page, "gateway http://127.0.0.1", _SEEN_SECONDS)
        wait_for_finding(page, "sequencer: no worker has partition 0, 1, 2, 3 of 4", _SEEN_SECONDS)
        keep_picture(page, "overview-faults")
    finally:
        for part in ("worker-1", "gateway-1"):
            lab.kill(part)  # its supervisor starts it again
    wait_until_well(page, 40)
    for words in ("worker 127.0.0.1", "gateway http"):
        wait_for_finding(page, words, 1)  # it began so many seconds ago
