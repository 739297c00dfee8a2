"""Several tabs of a browser are one device with one socket, in step, whichever of them ends."""

import asyncio
import json
import time
import urllib.request
from collections.abc import Callable

import pytest
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.by import By

from messenger_sdk import Client
from tests.browser.conftest import Open
from tests.browser.person import log_in, presence, say, shown, talk_to, unread, wait_for
from tests.browser.wait import Wait
from tests.harness.device import token_of
from tests.harness.stack import Stack

pytestmark = [pytest.mark.real, pytest.mark.browser]


def devices(stack: Stack, user: str) -> list[str]:
    """The user's devices that have a socket, by the gateway's word."""
    request = urllib.request.Request(f"{stack.gateway_urls[0]}/v1/devices")
    request.add_header("Authorization", f"Bearer {token_of(stack, user)}")
    with urllib.request.urlopen(request, timeout=5) as answer:
        return [device["device"] for device in json.load(answer)["devices"] if device["online"]]


def connections(stack: Stack) -> int:
    """Sockets of all gateway nodes."""
    total = 0
    for url in stack.gateway_urls:
        with urllib.request.urlopen(f"{url}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        total += next(
            int(float(line.split()[1]))
            for line in lines
            if line.startswith("messenger_gateway_connections ")
        )
    return total


def at(browser: webdriver.Chrome, tab: str) -> webdriver.Chrome:
    """The browser, looking at one of its tabs."""
    browser.switch_to.window(tab)
    return browser


def another_tab(browser: webdriver.Chrome, url: str, user: str, contact: str | None = None) -> str:
    """A new tab of the browser, logged in, maybe with a conversation open. In a window of its own,
    so that all are in sight."""
    browser.switch_to.new_window("window")
    browser.get(url)
    log_in(browser, user)
    if contact is not None:
        talk_to(browser, contact)
    return str(browser.current_window_handle)


def alice_and_bob(
    stack: Stack, open_page: Open, name: str
) -> tuple[webdriver.Chrome, webdriver.Chrome]:
    """Their browsers, each on a gateway of its own, logged in as {name}-alice and {name}-bob; he
    looks at what she writes."""
    alice, bob = open_page(stack.gateway_urls[0]), open_page(stack.gateway_urls[1])
    log_in(alice, f"{name}-alice")
    log_in(bob, f"{name}-bob")
    talk_to(bob, f"{name}-alice")
    return alice, bob


def until(page: webdriver.Chrome, holds: Callable[[], bool], timeout: float = 60) -> None:
    Wait(page, timeout, poll_frequency=0.1, ignored_exceptions=[Exception]).until(lambda _: holds())


def test_a_browser_is_told_why_it_was_sent_away(stack: Stack, open_page: Open) -> None:
    assert (
        run(
            open_page(stack.gateway_urls[0]),
            """
        const socket = new WebSocket(new URL("/v1/socket", location.href.replace("http", "ws")));
        const hello = { t: "hello", id: 1, version: 1, token: "none", device: "d" };
        socket.onopen = () => socket.send(JSON.stringify(hello));
        return new Promise((closed) => { socket.onclose = ({ code }) => closed(code); });
        """,
        )
        == 4500
    )


def no_errors(browser: webdriver.Chrome) -> bool:
    errors = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    print(errors)  # for whoever reads why a test failed
    return errors == []


def test_tabs_are_one_device_with_one_socket_and_in_step(stack: Stack, open_page: Open) -> None:
    url = stack.gateway_urls[0]
    before = connections(stack)
    alice, bob = alice_and_bob(stack, open_page, "tabs")
    first = alice.current_window_handle
    second = another_tab(alice, url, "tabs-alice")
    assert len(devices(stack, "tabs-alice")) == 1
    assert connections(stack) == before + 2

    said = ["are you", "there?"]
    for body in said:
        say(bob, body)
    wait_for(bob, [(body, "delivered") for body in said])
    for tab in (first, second):
        until(at(alice, tab), lambda: unread(alice) == {"tabs-bob": "2"})
    talk_to(at(alice, first), "tabs-bob")
    wait_for(bob, [(body, "read") for body in said])
    for tab in (first, second):
        until(at(alice, tab), lambda: unread(alice) == {})

    talk_to(at(alice, second), "tabs-bob")
    for tab, body in (
        (first, "from the first"),
        (second, "from the second"),
        (first, "and the first again"),
    ):
        say(at(alice, tab), body)
        said.append(body)
    mine = [(body, "" if number < 2 else "read") for number, body in enumerate(said)]
    late = another_tab(alice, url, "tabs-alice", "tabs-bob")
    for tab in (first, second, late):
        wait_for(at(alice, tab), mine)
    wait_for(bob, [(body, "read" if number < 2 else "") for number, body in enumerate(said)])

    for tab in (first, second, late):
        until(at(alice, tab), lambda: presence(alice) == "online")

    def writes() -> bool:
        bob.find_element(By.ID, "text").send_keys(".")
        return presence(alice) == "typing…"

    for tab in (first, second, late):
        until(at(alice, tab), writes)
    bob.get("about:blank")
    for tab in (first, second, late):
        until(at(alice, tab), lambda: presence(alice).startswith("last seen"), 15)
        assert no_errors(alice)
    assert len(devices(stack, "tabs-alice")) == 1


def test_the_tab_that_came_first_closes_just_after_another_has_sent(
    stack: Stack, open_page: Open
) -> None:
    url = stack.gateway_urls[0]
    alice, bob = alice_and_bob(stack, open_page, "close")
    first = alice.current_window_handle
    second = another_tab(alice, url, "close-alice", "close-bob")
    device = devices(stack, "close-alice")
    say(at(alice, second), "just before")
    at(alice, first).close()
    say(at(alice, second), "just after")
    wait_for(alice, [("just before", "read"), ("just after", "read")])
    say(bob, "both have come")
    wait_for(bob, [("just before", ""), ("just after", ""), ("both have come", "read")])
    assert devices(stack, "close-alice") == device
    alice.get("about:blank")  # the last of them
    until(bob, lambda: presence(bob).startswith("last seen"), 4)  # a goodbye: there is no grace
    assert devices(stack, "close-alice") == []


_SAY_MANY = """
const text = document.getElementById("text"), bodies = arguments[0];
const next = () => {
  text.value = bodies.shift();
  document.getElementById("send-form").requestSubmit();
  if (bodies.length) setTimeout(next, 4);
};
next();
"""


def test_the_device_crashes_again_and_again_while_another_tab_sends(
    stack: Stack, open_page: Open
) -> None:
    url = stack.gateway_urls[0]
    alice, bob = alice_and_bob(stack, open_page, "crash")
    talk_to(alice, "crash-bob")
    device = devices(stack, "crash-alice")
    host = alice.current_window_handle  # the worker lives in the process of the tab that started it
    said: list[str] = []
    for wait in (0.0, 0.02, 0.05, 0.1):
        sender = another_tab(alice, url, "crash-alice", "crash-bob")
        wait_for(alice, [(body, "read") for body in said])
        bodies = [
            f"message {len(said) + number}" for number in range(20)
        ]  # a new device shows the last 100 of what there was
        alice.execute_script(_SAY_MANY, bodies)
        said += bodies
        at(alice, host)
        time.sleep(wait)
        with pytest.raises(WebDriverException, match="crashed"):
            alice.execute_cdp_cmd("Page.crash", {})
        wait_for(at(alice, sender), [(body, "read") for body in said])
        assert [body for body, _ in shown(bob)] == said
        host = sender
    say(bob, "all have come")
    wait_for(alice, [*((body, "read") for body in said), ("all have come", "")])
    assert devices(stack, "crash-alice") == device
    assert no_errors(alice)


def test_users_do_not_mix_and_logging_out_in_one_tab_is_logging_out_in_all_of_this_user(
    stack: Stack, open_page: Open
) -> None:
    url = stack.gateway_urls[0]
    browser, bob = open_page(url), open_page(stack.gateway_urls[1])
    log_in(bob, "mix-bob")
    log_in(browser, "mix-alice")
    talk_to(browser, "mix-bob")
    first = browser.current_window_handle
    carol = another_tab(browser, url, "mix-carol", "mix-bob")
    second = another_tab(browser, url, "mix-alice", "mix-bob")
    say(at(browser, first), "from alice")
    say(at(browser, carol), "from carol")
    for tab, body in ((first, "from alice"), (second, "from alice"), (carol, "from carol")):
        wait_for(at(browser, tab), [(body, "delivered")])
    assert len(devices(stack, "mix-alice")) == len(devices(stack, "mix-carol")) == 1

    at(browser, second).find_element(By.ID, "logout").click()
    for tab in (first, second):
        until(at(browser, tab), lambda: browser.find_element(By.ID, "login").is_displayed())
        assert shown(browser) == []
    until(browser, lambda: devices(stack, "mix-alice") == [])
    say(at(browser, carol), "carol goes on")
    wait_for(browser, [("from carol", "delivered"), ("carol goes on", "delivered")])
    log_in(at(browser, first), "mix-alice")
    talk_to(browser, "mix-bob")
    say(browser, "alice is back")
    wait_for(browser, [("from alice", "delivered"), ("alice is back", "delivered")])


def test_a_device_that_was_told_to_stay_away_comes_back_for_all_tabs_when_one_logs_in(
    stack: Stack, open_page: Open
) -> None:
    url = stack.gateway_urls[0]
    alice = open_page(url)
    log_in(alice, "stop-alice")
    first = alice.current_window_handle
    second = another_tab(alice, url, "stop-alice", "stop-bob")
    [device] = devices(stack, "stop-alice")

    def state() -> str:
        return str(alice.find_element(By.ID, "connection").text)

    async def replace() -> None:
        async with (
            Client(url, token_of(stack, "stop-alice"), device) as client,
            asyncio.timeout(60),
        ):
            await client.online()

    asyncio.run(replace())
    for tab in (first, second):
        until(at(alice, tab), lambda: state() == "stopped: opened elsewhere with the same device")
    third = another_tab(alice, url, "stop-alice", "stop-bob")
    for tab in (first, second, third):
        until(at(alice, tab), lambda: state() == "online")
    assert devices(stack, "stop-alice") == [device]


def test_without_shared_workers_tabs_are_devices_in_step(stack: Stack, open_page: Open) -> None:
    url = stack.gateway_urls[0]
    alice = open_page(url)
    tabs = []
    for _ in range(2):
        alice.switch_to.new_window("window")
        alice.execute_cdp_cmd(
            "Page.addScriptToEvaluateOnNewDocument", {"source": "delete globalThis.SharedWorker"}
        )
        alice.get(url)
        log_in(alice, "lone-alice")
        talk_to(alice, "lone-bob")
        tabs.append(alice.current_window_handle)
    assert len(devices(stack, "lone-alice")) == 2
    for number, tab in enumerate(tabs):
        say(at(alice, tab), f"from tab {number}")
    for tab in tabs:
        wait_for(at(alice, tab), [("from tab 0", "sent"), ("from tab 1", "sent")])
    alice.find_element(By.ID, "logout").click()
    for tab in tabs:
        until(at(alice, tab), lambda: alice.find_element(By.ID, "login").is_displayed())
    until(alice, lambda: devices(stack, "lone-alice") == [])


def run(page: webdriver.Chrome, script: str) -> object:
    """What a script returns that may await."""
    result = page.execute_async_script(
        "const done = arguments[arguments.length - 1];"
        f"(async () => {{ {script} }})().then((value) => done({{ value }}), (error) => "
        f"done({{ error: String(error.stack) }}));"
    )
    assert "error" not in result, result["error"]
    return result["value"]


def test_a_tab_that_does_not_look_again_gets_no_more_than_one_picture(
    stack: Stack, open_page: Open
) -> None:
    assert run(
        open_page(stack.gateway_urls[0]),
        """
        const { Tabs } = await import("/tabs.js"), { claimFree } = await import("/claim.js");
        const headers = { "Content-Type": "application/json" };
        const login = { method: "POST", headers, body: '{"user":"look-alice"}' };
        const { token } = await (await fetch("/v1/login", login)).json();
        const tabs = new Tabs("look-alice", claimFree);
        const open = async () => {
          const { port1, port2 } = new MessageChannel(), got = [];
          tabs.add(port2);
          port1.onmessage = ({ data }) => got.push(data);
          const next = async (t) => {
            while (!got.some((message) => message.t === t))
              await new Promise((resolve) => setTimeout(resolve, 5));
            return got.splice(got.findIndex((message) => message.t === t), 1)[0];
          };
          port1.postMessage({ t: "attach", token });
          await next("attached");
          const look = (seen) =>
            port1.postMessage({ t: "look", contact: "look-bob", seen, read: 0, older: false });
          return { port1, got, next, look };
        };
        const early = await open();
        early.look(-1);
        early.look((await early.next("picture")).version);
        for (let number = 0; number < 20; number++) {
          const key = `${number}`.padStart(32, "0");
          early.port1.postMessage({ t: "send", contact: "look-bob", key, body: `${number}` });
          await early.next("safe");
        }
        const late = await open();
        late.look(-1);
        const { conversation } = await late.next("picture");
        const owed = early.got.filter(({ t }) => t === "picture").length;
        return [owed, conversation.messages.map(({ body }) => Number(body))];
        """,
    ) == [1, list(range(20))]


def test_what_is_sent_before_the_device_is_there_waits_and_is_bounded(
    stack: Stack, open_page: Open
) -> None:
    assert run(
        open_page(stack.gateway_urls[0]),
        """
        const { Link } = await import("/link.js");
        const headers = { "Content-Type": "application/json" };
        const login = { method: "POST", headers, body: '{"user":"wait-alice"}' };
        const { token } = await (await fetch("/v1/login", login)).json();
        let taken = 0, bodies = [];
        const link = new Link("wait-alice", token, async () => null, {
          attached() {},
          picture: ({ version, conversation }) => {
            bodies = conversation.messages.map(({ body }) => Number(body));
            link.look({ contact: "wait-bob", seen: version, read: 0, older: false });
          },
        });
        link.look({ contact: "wait-bob", seen: -1, read: 0, older: false });
        while (link.send("wait-bob", `${taken}`)) taken++;
        while (bodies.length < taken || link.unsafe.size)
          await new Promise((resolve) => setTimeout(resolve, 5));
        return [taken, bodies, link.send("wait-bob", "more")];
        """,
    ) == [100, list(range(100)), True]
