"""What a person sees of the overview page of a worker."""

import base64
import os
from pathlib import Path

from selenium import webdriver
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.common.by import By

from tests.browser.wait import Wait

PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}


def findings(page: webdriver.Chrome) -> str:
    """A line for each."""
    script = "return [...document.querySelectorAll('.findings li')].map((one) => one.innerText)"
    return "\n".join(page.execute_script(script))


def wait_for_finding(page: webdriver.Chrome, words: str, seconds: float) -> None:
    """Until a finding says this."""
    try:
        Wait(page, seconds, 0.2).until(lambda p: words in findings(p))
    except TimeoutException:
        raise AssertionError(f"{words!r} is not said, but: {findings(page)}") from None


def wait_until_well(page: webdriver.Chrome, seconds: float) -> None:
    """Until no problem is shown."""
    try:
        Wait(page, seconds, 0.2).until(
            lambda p: p.find_element(By.ID, "state").text == "all is well"
        )
    except TimeoutException:
        raise AssertionError(findings(page)) from None


def tile(page: webdriver.Chrome, name: str) -> str:
    """What a tile says, its name first."""
    return str(page.find_element(By.CSS_SELECTOR, f"[data-tile='{name}']").text)


def wider_than_the_screen(page: webdriver.Chrome) -> int:
    """By how many pixels one would have to scroll sideways."""
    script = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    return int(page.execute_script(script))


def keep_picture(page: webdriver.Chrome, name: str) -> None:
    """The whole page as a WebP for docs/pictures, where MESSENGER_PICTURES names a folder."""
    folder = os.environ.get("MESSENGER_PICTURES")
    if folder:
        asked = {"format": "webp", "quality": 70, "captureBeyondViewport": True}
        taken = page.execute_cdp_cmd("Page.captureScreenshot", asked)
        Path(folder, f"{name}.webp").write_bytes(base64.b64decode(taken["data"]))
