"""`python -m tests.browser.overview_pictures FOLDER` takes the pictures of the overview page that
docs/OPERATIONS.md shows: of a stack of its own, in which sixteen people talk."""

import asyncio
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from selenium.webdriver.common.by import By

from tests.browser.conftest import start
from tests.browser.overview import PHONE, keep_picture, wait_for_finding, wait_until_well
from tests.harness.load import Load
from tests.harness.stack import Stack
from tests.harness.talk import Talk

_TALK_SECONDS = 75.0
"""Until nothing is new any more, and the plots have a form."""


async def _take(stack: Stack) -> None:
    async with Talk(stack, "pictures") as talk:
        load = Load(talk, 0.4)
        await load.start()
        await asyncio.sleep(_TALK_SECONDS)
        await asyncio.to_thread(_look, stack)
        await load.cancel()


def _look(stack: Stack) -> None:
    address = f"http://127.0.0.1:{stack.base_port + 13}/"
    for dark in (False, True):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            browser = start(folder, 1280, dark=dark)
            browser.get(address)
            wait_until_well(browser, 30)
            if not dark:
                keep_picture(browser, "overview")
                browser.find_element(By.CSS_SELECTOR, "#workers tr:nth-child(2) a").click()
                time.sleep(3)
                keep_picture(browser, "overview-worker")
            else:
                browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
                stack.kill("worker-2", signal.SIGSTOP)
                stack.kill("clickhouse", signal.SIGSTOP)
                for words in ("clickhouse: ", "worker 127.0.0.1"):
                    wait_for_finding(browser, words, 20)
                keep_picture(browser, "overview-phone")
            browser.quit()


if __name__ == "__main__":
    os.environ["MESSENGER_PICTURES"] = sys.argv[1]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        counts = {"workers": 2, "gateways": 2, "archivers": 1, "cursors": None, "presence": None}
        with Stack(Path(home) / "stack", **counts, probe_seconds=5.0) as running:  # type: ignore[arg-type]
            asyncio.run(_take(running))
