"""axe-core finds nothing wrong with the page: names, roles, keyboard, contrast in both themes."""

from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from tests.browser.conftest import Open
from tests.browser.person import log_in, say, shown, talk_to
from tests.browser.test_page import speak
from tests.browser.wait import Wait
from tests.harness.stack import Stack

pytestmark = [pytest.mark.real, pytest.mark.browser]

_AXE = Path(__file__).resolve().parents[2] / ".local" / "npm" / "node_modules" / "axe-core"
_RUN = """
const done = arguments[arguments.length - 1];
axe.run({ resultTypes: ["violations"] })
  .then(({ violations }) => done(violations.map(({ id, nodes }) =>
    [id, ...nodes.map(({ html, failureSummary }) => `${html}: ${failureSummary}`)])))
  .catch((error) => done(String(error)));
"""


def wrong(page: webdriver.Chrome) -> Any:
    page.execute_script((_AXE / "axe.min.js").read_text())
    page.set_script_timeout(60)
    return page.execute_async_script(_RUN)


@pytest.mark.skipif(not _AXE.exists(), reason="axe-core is not here: ops/setup.sh test, with npm")
def test_the_page_is_accessible_in_both_themes(stack: Stack, open_page: Open) -> None:
    speak(stack, "axe", "bob", "hello https://a.example", "> alice: what\nthat")
    speak(stack, "axe", "carol", "unread")
    page = open_page(stack.gateway_urls[0])
    assert wrong(page) == []
    log_in(page, "axe-alice")
    for theme in ("light", "dark"):
        while page.execute_script("return document.documentElement.dataset.theme") != theme:
            page.find_element(By.ID, "theme").click()
        talk_to(page, "axe-bob")
        say(page, "an answer")
        Wait(page, 10).until(lambda p: shown(p)[-1:] == [("an answer", "sent")])
        page.find_element(By.CSS_SELECTOR, ".message").click()  # its buttons come
        if not page.find_element(By.ID, "search-bar").is_displayed():
            page.find_element(By.ID, "search").click()
        assert wrong(page) == []
    page.find_element(By.ID, "emoji-open").click()
    assert wrong(page) == []
    page.execute_script("document.documentElement.style.setProperty('--quiet', '#777777')")
    assert [rule for rule, *_ in wrong(page)] == ["color-contrast"]  # it would notice
