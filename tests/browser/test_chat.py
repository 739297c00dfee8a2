"""The chat page in headless Chromium, through the whole real stack."""

import asyncio
import json
import time
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from gateway.edge.tokens import issue
from schemas.ids import user_id
from tests.browser.conftest import Open
from tests.browser.person import log_in, picture, presence, say, talk_to, unread, wait_for
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
    wait_for(alice, [("Are we still on for lunch?", "✓✓ read")])
    wait_for(bob, [("Are we still on for lunch?", "")])
    say(bob, "<b>Yes</b>, at one")
    both = [("Are we still on for lunch?", "✓✓ read"), ("<b>Yes</b>, at one", "")]
    wait_for(alice, both)
    wait_for(bob, [("Are we still on for lunch?", ""), ("<b>Yes</b>, at one", "✓✓ read")])
    second = open_page(stack.gateway_urls[0])
    log_in(second, "page-alice")
    talk_to(second, "page-bob")
    say(second, "From my other window")
    wait_for(alice, [*both, ("From my other window", "✓✓ read")])
    wait_for(second, [*both, ("From my other window", "✓✓ read")])
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
    shown = WebDriverWait(page, 20)
    shown.until(lambda driver: driver.find_element(By.ID, "me").text == "embedded")
    shown.until(lambda driver: driver.execute_script("return globalThis.asked") >= 2)
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
        online = ("online", "✓✓ delivered")
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
        mine = [(body, "✓✓ delivered") for body in ("online", *wanted)]
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
    wait_for(alice, [("nobody is there", "✓ sent")])
    first, second = open_page(stack.gateway_urls[1]), open_page(stack.gateway_urls[0])
    for page in (first, second):
        log_in(page, "mark-bob")
    say(alice, "now you are")
    wait_for(alice, [("nobody is there", "✓✓ delivered"), ("now you are", "✓✓ delivered")])
    elsewhere = open_page(stack.gateway_urls[1])
    log_in(elsewhere, "mark-alice")
    WebDriverWait(elsewhere, 10).until(
        lambda p: p.find_elements(By.CSS_SELECTOR, "#contacts button")
    )
    WebDriverWait(elsewhere, 10, ignored_exceptions=[Exception]).until(lambda p: unread(p) == {})
    for page in (first, second):
        WebDriverWait(page, 10, ignored_exceptions=[Exception]).until(
            lambda p: unread(p) == {"mark-alice": "2"}
        )
    picture(first, "unread")
    talk_to(first, "mark-alice")
    wait_for(alice, [("nobody is there", "✓✓ read"), ("now you are", "✓✓ read")])
    for page in (first, second):
        WebDriverWait(page, 10, ignored_exceptions=[Exception]).until(lambda p: unread(p) == {})
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
    wait_for(alice, [("seen", "✓✓ read")])
    bob.execute_script(
        "Object.defineProperty(document, 'hidden', { get: () => window.away, configurable: true });"
        "const draw = window.requestAnimationFrame.bind(window); window.away = true;"
        "window.requestAnimationFrame = (picture) => window.away ? (window.undrawn = picture) : "
        "draw(picture);"
    )  # as a browser does with a tab in the background
    say(alice, "not seen")
    wait_for(alice, [("seen", "✓✓ read"), ("not seen", "✓✓ delivered")])
    bob.execute_script(
        "window.away = false; window.undrawn(); document.dispatchEvent(new "
        "Event('visibilitychange'))"
    )
    wait_for(alice, [("seen", "✓✓ read"), ("not seen", "✓✓ read")])


def test_online_typing_and_last_seen(stack: Stack, open_page: Open) -> None:
    alice, bob = open_page(stack.gateway_urls[0]), open_page(stack.gateway_urls[1])
    for page, name, contact in ((alice, "seen-alice", "seen-bob"), (bob, "seen-bob", "seen-alice")):
        log_in(page, name)
        talk_to(page, contact)
    say(alice, "hello")
    wait_for(bob, [("hello", "")])

    for page in (alice, bob):
        WebDriverWait(page, 10).until(lambda p: presence(p) == "online")
    bob.find_element(By.ID, "text").send_keys("a long ans")
    WebDriverWait(alice, 10).until(lambda p: presence(p) == "writes …")
    picture(alice, "typing")
    bob.find_element(By.ID, "text").send_keys("wer", Keys.ENTER)
    WebDriverWait(alice, 10).until(lambda p: presence(p) == "online")
    assert [entry for entry in bob.get_log("browser") if entry["level"] == "SEVERE"] == []
    bob.get("about:blank")
    WebDriverWait(alice, 15).until(lambda p: presence(p).startswith("last seen"))
    assert [entry for entry in alice.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_scrolling_back_shows_all_there_was(stack: Stack, open_page: Open) -> None:
    bodies = [f"message {number}" for number in range(1, 261)]

    async def speak() -> None:
        async with Talk(stack, "scroll") as talk:
            await talk.say(await talk.join("alice"), "bob", bodies)

    asyncio.run(speak())
    page = open_page(stack.gateway_urls[0])
    log_in(page, "scroll-bob")
    talk_to(page, "scroll-alice")
    WebDriverWait(page, 10).until(
        lambda p: len(p.find_elements(By.CSS_SELECTOR, "#messages .message")) >= 100
    )

    def scrolled_up(p: webdriver.Chrome) -> bool:
        p.execute_script("document.getElementById('messages').scrollTop = 0")
        return bool(
            p.find_element(By.CSS_SELECTOR, "#messages li").text
            == "the beginning of the conversation"
        )

    WebDriverWait(page, 20, poll_frequency=0.1).until(scrolled_up)
    assert [item.text for item in page.find_elements(By.CSS_SELECTOR, "#messages .body")] == bodies
    assert [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"] == []
