"""The chat page in headless Chromium, through the whole real stack."""

import asyncio
import json
import time
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from gateway.edge.tokens import issue
from schemas.ids import user_id
from tests.browser.conftest import Open
from tests.browser.person import log_in, picture, presence, say, shown, talk_to, unread, wait_for
from tests.browser.wait import Wait
from tests.harness.line import Line
from tests.harness.stack import Stack
from tests.harness.talk import Talk

pytestmark = [pytest.mark.real, pytest.mark.browser]


def test_two_pages_talk(stack: Stack, open_page: Open) -> None:
    alice, bob = (
        open_page(stack.gateway_urls[0]),
        open_page(stack.gateway_urls[1], width=420, dark=True),
    )
    picture(alice, "login")
    log_in(alice, "page-alice")
    log_in(bob, "page-bob")
    talk_to(alice, "page-bob")
    talk_to(bob, "page-alice")
    say(alice, "Are we still on for lunch?")
    wait_for(alice, [("Are we still on for lunch?", "read")])
    wait_for(bob, [("Are we still on for lunch?", "")])
    say(bob, "<b>Yes</b>, at one")
    both = [("Are we still on for lunch?", "read"), ("<b>Yes</b>, at one", "")]
    wait_for(alice, both)
    wait_for(bob, [("Are we still on for lunch?", ""), ("<b>Yes</b>, at one", "read")])
    second = open_page(stack.gateway_urls[0])
    log_in(second, "page-alice")
    talk_to(second, "page-bob")
    say(second, "From my other window")
    wait_for(alice, [*both, ("From my other window", "read")])
    wait_for(second, [*both, ("From my other window", "read")])
    picture(alice, "wide-light")
    picture(bob, "narrow-dark")
    for page in (alice, bob, second):
        assert [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_the_page_in_an_application_asks_it_for_tokens_and_goes_on_with_fresh_ones(
    stack: Stack, open_page: Open
) -> None:
    """The application is played by a fetch that makes tokens of 20 s, so each is asked for at
    once."""
    page = open_page(f"{stack.gateway_urls[0]}/style.css")
    tokens = [issue(user_id("embedded"), stack.token_secret, time.time(), 20) for _ in range(2)]
    played = """
        const real = fetch, tokens = %s;
        globalThis.asked = 0;
        globalThis.fetch = async (url, how) => url === "/session/messenger"
          ? new Response(JSON.stringify({ user: "embedded", token: tokens[Math.min(asked++, 1)] }))
          : real(url, how);
    """
    page.execute_cdp_cmd(
        "Page.addScriptToEvaluateOnNewDocument", {"source": played % json.dumps(tokens)}
    )
    page.get(f"{stack.gateway_urls[0]}/embedded.html")
    wait = Wait(page, 20)
    wait.until(lambda driver: driver.find_element(By.ID, "me").text == "embedded")
    wait.until(lambda driver: driver.execute_script("return globalThis.asked") >= 2)
    assert page.find_element(By.ID, "connection").text == "online"


def test_twenty_messages_written_offline_survive_a_restart_of_the_browser(
    stack: Stack, profile: Path, open_page: Open
) -> None:
    wanted = [f"written offline {number}" for number in range(1, 21)]
    bob, second = open_page(stack.gateway_urls[1]), open_page(stack.gateway_urls[1])
    log_in(bob, "offline-bob")
    with Line(stack.gateway_urls[0]) as line:
        page = open_page(line.url, profile=profile)
        log_in(page, "offline-alice")
        talk_to(page, "offline-bob")
        say(page, "online")
        online = ("online", "delivered")
        wait_for(page, [online])
        line.cut()
        for body in wanted:
            say(page, body)
        wait_for(page, [online, *((body, "queued") for body in wanted)])
        page.quit()

        line.mend()
        page = open_page(line.url, profile=profile)
        log_in(page, "offline-alice")
        talk_to(page, "offline-bob")
        log_in(second, "offline-alice")
        talk_to(second, "offline-bob")
        mine = [(body, "delivered") for body in ("online", *wanted)]
        wait_for(page, mine)
        wait_for(second, mine)
        talk_to(bob, "offline-alice")
        wait_for(bob, [(body, "") for body in ("online", *wanted)])


def test_delivered_then_read_and_badges_clear_on_every_window(
    stack: Stack, open_page: Open
) -> None:
    alice = open_page(stack.gateway_urls[0])
    log_in(alice, "mark-alice")
    talk_to(alice, "mark-bob")
    say(alice, "nobody is there")
    wait_for(alice, [("nobody is there", "sent")])
    first, second = open_page(stack.gateway_urls[1]), open_page(stack.gateway_urls[0])
    for page in (first, second):
        log_in(page, "mark-bob")
    say(alice, "now you are")
    wait_for(alice, [("nobody is there", "delivered"), ("now you are", "delivered")])
    elsewhere = open_page(stack.gateway_urls[1])
    log_in(elsewhere, "mark-alice")
    Wait(elsewhere, 10).until(lambda p: p.find_elements(By.CSS_SELECTOR, "#contacts button"))
    Wait(elsewhere, 10, ignored_exceptions=[Exception]).until(lambda p: unread(p) == {})
    for page in (first, second):
        Wait(page, 10, ignored_exceptions=[Exception]).until(
            lambda p: unread(p) == {"mark-alice": "2"}
        )
    picture(first, "unread")
    talk_to(first, "mark-alice")
    wait_for(alice, [("nobody is there", "read"), ("now you are", "read")])
    for page in (first, second):
        Wait(page, 10, ignored_exceptions=[Exception]).until(lambda p: unread(p) == {})
        assert [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_what_comes_to_a_page_that_nobody_looks_at_is_delivered_and_not_read(
    stack: Stack, open_page: Open
) -> None:
    alice, bob = open_page(stack.gateway_urls[0]), open_page(stack.gateway_urls[1])
    for page, name, contact in (
        (alice, "hidden-alice", "hidden-bob"),
        (bob, "hidden-bob", "hidden-alice"),
    ):
        log_in(page, name)
        talk_to(page, contact)
    say(alice, "seen")
    wait_for(alice, [("seen", "read")])
    bob.execute_script(
        "Object.defineProperty(document, 'hidden', { get: () => window.away, configurable: true });"
        "const draw = window.requestAnimationFrame.bind(window); window.away = true;"
        "window.requestAnimationFrame = (picture) => window.away ? (window.undrawn = picture) : "
        "draw(picture);"
    )  # as a browser does with a tab in the background
    say(alice, "not seen")
    wait_for(alice, [("seen", "read"), ("not seen", "delivered")])
    bob.execute_script(
        "window.away = false; window.undrawn(); document.dispatchEvent(new "
        "Event('visibilitychange'))"
    )
    wait_for(alice, [("seen", "read"), ("not seen", "read")])


def test_online_typing_and_last_seen(stack: Stack, open_page: Open) -> None:
    alice, bob = open_page(stack.gateway_urls[0]), open_page(stack.gateway_urls[1])
    for page, name, contact in ((alice, "seen-alice", "seen-bob"), (bob, "seen-bob", "seen-alice")):
        log_in(page, name)
        talk_to(page, contact)
    say(alice, "hello")
    wait_for(bob, [("hello", "")])

    for page in (alice, bob):
        Wait(page, 10).until(lambda p: presence(p) == "online")
    bob.find_element(By.ID, "text").send_keys("a long ans")
    Wait(alice, 10).until(lambda p: presence(p) == "typing…")
    picture(alice, "typing")
    bob.find_element(By.ID, "text").send_keys("wer", Keys.ENTER)
    Wait(alice, 10).until(lambda p: presence(p) == "online")
    assert [entry for entry in bob.get_log("browser") if entry["level"] == "SEVERE"] == []
    bob.get("about:blank")
    Wait(alice, 15).until(lambda p: presence(p).startswith("last seen"))
    assert [entry for entry in alice.get_log("browser") if entry["level"] == "SEVERE"] == []


_SCROLL_UP = """
const done = arguments[0], list = document.getElementById("messages"), bodies = new Set();
const frame = () => new Promise(requestAnimationFrame);
(async () => {
  let jump = 0, most = 0;
  while (!(list.querySelector(".gap") && list.scrollTop === 0)) {
    list.scrollTop -= 300;
    const { top, bottom } = list.getBoundingClientRect();
    const middle = (top + bottom) / 2;
    const boxes = [...list.querySelectorAll(".message")]
      .map((element) => ({ element, top: element.getBoundingClientRect().top }));
    for (const { element } of boxes) bodies.add(element.querySelector(".body").textContent);
    const seen = boxes.findLast(({ top }) => top < middle);
    for (let turn = 0; turn < 4; turn++) await frame();
    const moved = seen.element.getBoundingClientRect().top - seen.top;
    jump = Math.max(jump, seen.element.isConnected ? Math.abs(moved) : 999);
    most = Math.max(most, boxes.length);
  }
  done([jump, most, [...bodies].sort((a, b) => a.slice(8) - b.slice(8))]);
})();
"""
"""Scrolls up to the beginning: by how many px a message in sight has jumped at most, how many
messages were drawn at most, and which."""


def test_scrolling_back_shows_all_there_was_without_a_jump(stack: Stack, open_page: Open) -> None:
    bodies = [f"message {number}" for number in range(1, 701)]

    async def speak() -> None:
        async with Talk(stack, "scroll") as talk:
            await talk.say(await talk.join("alice"), "bob", bodies)

    asyncio.run(speak())
    page = open_page(stack.gateway_urls[0])
    log_in(page, "scroll-bob")
    [last] = Wait(page, 10).until(lambda p: p.find_elements(By.CSS_SELECTOR, "#contacts .last"))
    Wait(page, 10).until(lambda p: last.text == bodies[-1])  # on a device that is new
    talk_to(page, "scroll-alice")
    Wait(page, 10).until(
        lambda p: len(p.find_elements(By.CSS_SELECTOR, "#messages .message")) >= 100
    )
    page.set_script_timeout(60)
    jump, most, seen = page.execute_async_script(_SCROLL_UP)
    assert seen == bodies
    assert jump <= 1
    assert most <= 300  # of a long conversation a part is drawn
    page.find_element(By.ID, "latest").click()
    Wait(page, 10).until(lambda p: shown(p)[-1][0] == bodies[-1])
    assert not page.find_element(By.ID, "latest").is_displayed()
    assert [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_the_list_the_line_before_what_is_new_and_drafts(stack: Stack, open_page: Open) -> None:
    async def speak(*said: tuple[str, str]) -> None:
        async with Talk(stack, "list") as talk:
            for author, body in said:
                await talk.say(await talk.join(author), "alice", [body])

    asyncio.run(speak(("bob", "the first of bob"), ("carol", "of carol"), ("bob", "of bob")))
    page = open_page(stack.gateway_urls[0])
    log_in(page, "list-alice")

    def entries(p: webdriver.Chrome) -> list[list[str]]:
        """(name, last line) of each conversation, as listed."""
        found = p.execute_script(
            "return [...document.querySelectorAll('#contacts li')].map((item) =>"
            " ['.name', '.last'].map((part) => item.querySelector(part).textContent))"
        )
        return list(found)

    both = [["list-bob", "of bob"], ["list-carol", "of carol"]]
    Wait(page, 10).until(lambda p: entries(p) == both)
    assert all(item.text for item in page.find_elements(By.CSS_SELECTOR, "#contacts .when"))

    talk_to(page, "list-bob")
    wait_for(page, [("the first of bob", ""), ("of bob", "")])
    items = page.execute_script(  # all at once: they may be drawn again meanwhile
        "return [...document.querySelectorAll('#messages > li')].map((item) => item.innerText)"
    )
    assert [text.split("\n")[0] for text in items[:3]] == [
        "This is the beginning of the conversation.",
        "Today",
        "New messages",
    ]
    page.find_element(By.ID, "text").send_keys("half a sen")
    page.find_element(By.ID, "text").send_keys(Keys.ESCAPE)  # to the list
    page.switch_to.active_element.send_keys(Keys.ARROW_DOWN)
    page.switch_to.active_element.send_keys(Keys.ENTER)
    wait_for(page, [("of carol", "")])
    assert page.find_element(By.ID, "text").get_property("value") == ""
    drafted = [["list-bob", "Draft: half a sen"], ["list-carol", "of carol"]]
    Wait(page, 10).until(lambda p: entries(p) == drafted)
    talk_to(page, "list-bob")
    say(page, "tence")
    wait_for(page, [("the first of bob", ""), ("of bob", ""), ("half a sentence", "sent")])
    assert not page.find_elements(By.CSS_SELECTOR, "#messages .line")
    mine = [["list-bob", "senthalf a sentence"], ["list-carol", "of carol"]]  # with its tick
    Wait(page, 10).until(lambda p: entries(p) == mine)
    say(page, "first" + Keys.SHIFT + Keys.ENTER + Keys.NULL + "second")
    Wait(page, 10).until(lambda p: shown(p)[-1][0] == "first\nsecond")
    asyncio.run(speak(("bob", "and now this")))
    Wait(page, 10).until(
        lambda p: (
            p.find_element(By.ID, "announce").get_property("textContent")
            == "list-bob: and now this"
        )
    )
    assert not page.find_elements(By.CSS_SELECTOR, "#messages .line")  # it was looked at
    assert [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"] == []
