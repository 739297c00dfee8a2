"""What a person expects of a messenger, on the page: replies, links, search, notices; and a page
without a network."""

import asyncio
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from messenger_sdk import SendRefused
from tests.browser.conftest import Open
from tests.browser.person import log_in, picture, say, shown, talk_to, wait_for
from tests.browser.wait import Wait
from tests.harness.line import Line
from tests.harness.stack import Stack
from tests.harness.talk import Talk

pytestmark = [pytest.mark.real, pytest.mark.browser]


def speak(stack: Stack, prefix: str, author: str, *bodies: str) -> None:
    """`author` writes to alice."""

    async def spoken() -> None:
        async with Talk(stack, prefix) as talk:
            await talk.say(await talk.join(author), "alice", list(bodies))

    asyncio.run(spoken())


def press(page: webdriver.Chrome, *keys: str) -> None:
    """Keys to whatever has the focus."""
    for key in keys:
        page.switch_to.active_element.send_keys(key)


def text_of(page: webdriver.Chrome, css: str) -> str:
    found = page.execute_script("return document.querySelector(arguments[0])?.textContent", css)
    return str(found)


_NOTED = """
globalThis.noted = [];
globalThis.Notification = class extends Notification {
  constructor(title, options) {
    super(title, options);
    noted.push([title, options.body]);
  }
};
"""
"""Notes each notification that is shown."""


def test_links_replies_search_and_mute(stack: Stack, open_page: Open) -> None:
    old = [f"number {number}" for number in range(1, 301)]
    speak(stack, "do", "bob", "a needle <b>here</b>", *old, "see https://a.example/x, now")
    page = open_page(stack.gateway_urls[0])
    page.execute_cdp_cmd("Browser.grantPermissions", {"permissions": ["notifications"]})
    page.execute_script(_NOTED)
    wait = Wait(page, 10)
    log_in(page, "do-alice")
    wait.until(lambda p: p.title == "(302) do-alice – Messenger")
    talk_to(page, "do-bob")
    wait.until(lambda p: len(shown(p)) >= 100)
    wait.until(lambda p: p.title == "do-alice – Messenger")  # it was looked at
    link = page.find_element(By.CSS_SELECTOR, ".message a")
    assert [link.get_attribute(name) for name in ("href", "rel")] == [
        "https://a.example/x",
        "noopener noreferrer",
    ]

    press(page, Keys.ARROW_UP, "r", "I shall", Keys.ENTER)  # to the last message, and answers it
    quoting = ("I shall", "sent")
    wait.until(lambda p: shown(p)[-1] == quoting)
    assert text_of(page, ".message.own blockquote") == "do-bobsee https://a.example/x, now"
    assert not page.find_element(By.ID, "reply").is_displayed()

    page.find_element(By.ID, "search").click()
    press(page, "NEEDLE")  # it is 300 messages back
    wait.until(lambda p: text_of(p, ".message.found .body") == "a needle <b>here</b>")
    press(page, Keys.ENTER)
    wait.until(lambda p: text_of(p, "#search-state") == "Nothing earlier")
    press(page, Keys.ESCAPE)
    wait.until(lambda p: shown(p)[-1] == quoting)

    page.find_element(By.ID, "mute").click()
    talk_to(page, "do-carol")
    speak(stack, "do", "bob", "nobody looks")
    wait.until(lambda p: text_of(p, "[data-muted='true'] .unread") == "1")
    assert page.title == "do-alice – Messenger"
    speak(stack, "do", "dora", "a stranger")
    wait.until(lambda p: p.title == "(1) do-alice – Messenger")
    noted = page.execute_script("return globalThis.noted")
    assert noted == [
        ["do-dora", "a stranger"]
    ]  # nothing of before, and nothing of bob, who is mute

    page.find_element(By.ID, "emoji-open").click()
    press(page, Keys.ARROW_RIGHT, Keys.ENTER)
    assert page.find_element(By.ID, "text").get_property("value") == "😄"
    assert page.switch_to.active_element.get_attribute("id") == "text"
    assert [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_the_page_opens_without_a_network_and_shows_what_was_said(
    stack: Stack, profile: Path, open_page: Open
) -> None:
    speak(stack, "away", "bob", "before", "the network went")
    said = [("before", ""), ("the network went", "")]
    with Line(stack.gateway_urls[0]) as line:
        page = open_page(line.url, profile=profile)
        log_in(page, "away-alice")
        talk_to(page, "away-bob")
        wait_for(page, said)
        say(page, "mine")
        wait_for(page, [*said, ("mine", "sent")])
        page.set_script_timeout(20)
        page.execute_async_script("navigator.serviceWorker.ready.then(arguments[0])")
        page.execute_async_script("setTimeout(arguments[0], 1500)")  # it is kept a second later
        page.quit()
        line.cut()

        page = open_page(line.url, profile=profile)
        assert page.find_element(By.ID, "name").get_property("value") == "away-alice"
        page.find_element(By.ID, "name").send_keys(Keys.ENTER)
        Wait(page, 20).until(lambda p: text_of(p, "#contacts .last").endswith("mine"))
        talk_to(page, "away-bob")
        wait_for(page, [*said, ("mine", "sent")])
        say(page, "later")
        wait_for(page, [*said, ("mine", "sent"), ("later", "queued")])
        assert page.find_element(By.ID, "offline").is_displayed()

        line.mend()
        wait_for(page, [*said, ("mine", "sent"), ("later", "sent")])
        speak(stack, "away", "bob", "welcome back")
        wait_for(page, [*said, ("mine", "read"), ("later", "read"), ("welcome back", "")])

        page.find_element(By.ID, "logout").click()
        Wait(page, 10).until(lambda p: p.find_element(By.ID, "login").is_displayed())
        assert page.find_element(By.ID, "name").get_property("value") == ""
        kept = page.execute_async_script(
            "const opening = indexedDB.open('messenger/away-alice/shown');"
            "opening.onsuccess = () => opening.result.transaction('conversations')"
            ".objectStore('conversations').count().onsuccess = ({ target }) =>"
            " arguments[0](target.result);"
        )
        assert kept == 0


def test_a_page_of_ones_own_talks(stack: Stack, open_page: Open) -> None:
    page = open_page(f"{stack.gateway_urls[0]}/example.html?own-alice")
    page.find_element(By.ID, "to").send_keys("own-bob")
    page.find_element(By.ID, "body").send_keys("hello", Keys.ENTER)
    Wait(page, 10).until(lambda p: text_of(p, "#said li") == "own-alice: hello")
    assert [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_a_person_blocks_another_one_and_takes_it_back(stack: Stack, open_page: Open) -> None:
    speak(stack, "block", "bob", "hello")
    page = open_page(stack.gateway_urls[0])
    wait = Wait(page, 10)
    log_in(page, "block-alice")
    talk_to(page, "block-bob")
    wait.until(lambda p: [body for body, _ in shown(p)] == ["hello"])
    page.find_element(By.ID, "block").click()
    wait.until(lambda p: text_of(p, "#block") == "Unblock")
    with pytest.raises(SendRefused):
        speak(stack, "block", "bob", "are you there?")
    page.find_element(By.ID, "block").click()
    wait.until(lambda p: text_of(p, "#block") == "Block")
    speak(stack, "block", "bob", "good to see you")
    wait.until(lambda p: [body for body, _ in shown(p)] == ["hello", "good to see you"])


def test_an_own_message_is_edited_and_deleted_for_everybody(stack: Stack, open_page: Open) -> None:
    alice, bob = open_page(stack.gateway_urls[0]), open_page(stack.gateway_urls[1])
    for page, me, other in ((alice, "edit-alice", "edit-bob"), (bob, "edit-bob", "edit-alice")):
        log_in(page, me)
        talk_to(page, other)
    for text in ("Lunch at on?", "Sent in anger"):
        say(alice, text)
    both = [("Lunch at on?", "read"), ("Sent in anger", "read")]
    wait_for(alice, both)
    wait_for(bob, [(text, "") for text, _ in both])
    focus = "document.querySelectorAll('#messages .message')[arguments[0]].focus()"
    alice.execute_script(focus, 0)
    press(alice, "e")
    field = alice.find_element(By.ID, "text")
    assert field.get_property("value") == "Lunch at on?"
    field.send_keys(Keys.BACKSPACE, "e?", Keys.ENTER)
    both[0] = "Lunch at one?", "read"
    wait_for(alice, both)
    wait_for(bob, [(text, "") for text, _ in both])
    alice.execute_script(focus, 1)
    alice.find_element(By.CSS_SELECTOR, ".message [aria-label^=Delete]").click()
    alice.switch_to.alert.accept()
    gone = "This message was deleted."
    wait_for(alice, [both[0], (gone, "read")])
    wait_for(bob, [(both[0][0], ""), (gone, "")])
    picture(alice, "edited-and-deleted")
    bob.execute_script(focus, 0)
    assert not bob.find_elements(By.CSS_SELECTOR, ".message [aria-label=Edit]")
    later = open_page(stack.gateway_urls[0])  # and who comes later sees the same
    log_in(later, "edit-bob")
    talk_to(later, "edit-alice")
    wait_for(later, [(both[0][0], ""), (gone, "")])
