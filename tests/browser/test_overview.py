"""The overview page of a worker in headless Chromium: what runs, and how much, on any screen. What
is wrong is shown by tests/chaos/test_overview_faults.py."""

import json
import urllib.request

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver

from tests.browser.conftest import Open
from tests.browser.overview import (
    PHONE,
    keep_picture,
    tile,
    wait_until_well,
    wider_than_the_screen,
)
from tests.browser.wait import Wait
from tests.harness.stack import Stack
from tests.harness.talk import Talk

pytestmark = [pytest.mark.real, pytest.mark.browser]


async def test_the_root_page_shows_the_whole_system_and_each_worker(
    stack: Stack, open_page: Open
) -> None:
    async with Talk(stack, "seen-") as talk:
        alice, _ = await talk.join("alice"), await talk.join("bob", gateway=1)
        await talk.say(alice, "bob", ["one", "two", "three"])
        page = open_page(f"{stack.worker_urls[0]}/", width=1280)
        wait_until_well(page, 30)
        seen = Wait(page, 15)
        seen.until(lambda p: tile(p, "Connections").split("\n")[1] not in ("0", "1"))
        seen.until(lambda p: "≤" in tile(p, "Delivery, p99"))
        assert len(page.find_elements(By.CSS_SELECTOR, "#gateways tbody tr")) == 2
        assert "4 of 4" not in page.find_element(By.ID, "partitions").text
        cells = page.find_elements(By.CSS_SELECTOR, "#partitions .cell[data-level='good']")
        assert len(cells) >= 12, "all partitions of four stages, but for what is just being read"
        keep_picture(page, "overview")

        page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
        page.find_element(By.CSS_SELECTOR, "#workers a").click()
        seen.until(lambda p: p.find_element(By.TAG_NAME, "h1").text.startswith("Worker"))
        assert "sequencer 3" in page.find_element(By.ID, "main").text
        assert wider_than_the_screen(page) == 0
        keep_picture(page, "overview-worker-phone")
        assert [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"] == []

        page.execute_script("location.hash = ''")
        away = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
        page.execute_cdp_cmd("Network.enable", {})
        page.execute_cdp_cmd("Network.emulateNetworkConditions", away)
        seen.until(lambda p: "does not answer" in p.title)
        assert "does not answer: it cannot be reached" in main_text(page)
        assert "nobody need do anything" not in main_text(page)


def main_text(page: WebDriver) -> str:
    return str(page.find_element(By.ID, "main").text)


def test_a_partition_that_has_read_everything_has_no_lag_on_fausts_page_either(
    stack: Stack,
) -> None:
    with urllib.request.urlopen(f"{stack.worker_urls[0]}/performance/", timeout=5) as answer:
        consumer = json.load(answer)["consumer"]
    assert consumer["lag_total"] == 0, consumer
    assert {"messages.submitted", "cursors"} & set(consumer["lag_by_partition"])
