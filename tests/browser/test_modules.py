"""The page's modules by themselves, in the browser they are for; test_vectors.py holds the
device."""

from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from tests.browser.wait import Wait
from tests.harness.documents import blocks, section
from tests.harness.stack import Stack

pytestmark = [pytest.mark.real, pytest.mark.browser]


@pytest.fixture
def page(site: str, browser: webdriver.Chrome) -> webdriver.Chrome:
    """The page, loaded anew, without a server behind it."""
    browser.get(site)
    return browser


_BEFORE = """
const done = arguments[arguments.length - 1];
(async () => {
  const { Store } = await import("/store.js");
  const { Client } = await import("/client.js");
  const { Presence } = await import("/presence.js");
  const shown = (store) =>
    store.open("bob").messages.map(({ seq, body, state }) => [seq, body, state]);
  const message = (seq, from, key, body) =>
    ({ conversation: "alice:bob", seq, from, key, time: 1, body });
  const pause = (ms) => new Promise((passed) => setTimeout(passed, ms));
  // A client of alice on a connection that a test plays: `say` a frame to it, and see what it
  // `sent`.
  const start = (disk = {}) => {
    const sent = [], handlers = {};
    const send = (frames) => sent.push(...frames);
    const connection = { online: false, send, renew() {}, stop() {} };
    const kept = { device: "phone", stored: {}, save: async () => {}, ...disk };
    const watcher = { changed() {}, loggedOut() {} };
    const shown = { shown: { log: "", conversations: [] }, keep: async () => {} };
    const connect = (address, token, device, given) => {
      Object.assign(handlers, given);
      return connection;
    };
    const client = new Client("alice", "token", kept, shown, watcher, connect);
    const say = (frame) => handlers.frame(frame);
    const welcome = (log = "log") => {
      connection.online = true;
      handlers.state("online", 0);
      say({ t: "welcome", log });
    };
    const lose = () => {
      connection.online = false;
      handlers.state("waiting", 0);
    };
    const begin = () => {
      welcome();
      say({ t: "heads", id: sent.find(({ t }) => t === "sync").id, heads: {} });
    };
    return { client, sent, say, welcome, lose, begin };
  };
"""
_AFTER = """
})().then((value) => done({ value }), (error) => done({ error: String(error.stack) }));
"""


def run(page: webdriver.Chrome, script: str) -> Any:
    """What a script returns that may use the page's modules."""
    result = page.execute_async_script(_BEFORE + script + _AFTER)
    assert "error" not in result, result["error"]
    return result["value"]


def test_a_send_that_has_its_number_takes_its_place(page: webdriver.Chrome) -> None:
    assert run(
        page,
        """
        const store = new Store("alice");
        store.place(message(1, "bob", "b", "one"));
        store.queue("bob", "a", "mine");
        store.place(message(3, "bob", "c", "three"));
        store.sent({ ...message(2, "", "a"), event: "sent", body: undefined });
        store.place(message(2, "alice", "a", "mine"));
        return shown(store);
        """,
    ) == [[1, "one", "sent"], [2, "mine", "sent"], [3, "three", "sent"]]


def test_a_refused_message_keeps_its_place_and_queued_ones_stay_last(
    page: webdriver.Chrome,
) -> None:
    assert run(
        page,
        """
        const store = new Store("alice");
        store.queue("bob", "a", "refused");
        store.queue("bob", "d", "waits");
        store.failed("a", "refused");
        store.place(message(1, "bob", "b", "one"));
        store.place(message(2, "bob", "a", "another's key"));
        return shown(store);
        """,
    ) == [
        [None, "refused", "refused"],
        [1, "one", "sent"],
        [2, "another's key", "sent"],
        [None, "waits", "queued"],
    ]


def test_the_page_keeps_a_bounded_number_of_messages(page: webdriver.Chrome) -> None:
    assert run(
        page,
        """
        const store = new Store("alice");
        for (let seq = 1; seq <= 1200; seq++)
          store.place(message(seq, "bob", `k${seq}`, `body ${seq}`));
        const { messages } = store.open("bob");
        return [messages.length, messages[0].seq, messages.at(-1).seq];
        """,
    ) == [1000, 201, 1200]


def test_what_there_was_before_the_page_is_brought_back_when_opened(page: webdriver.Chrome) -> None:
    assert run(
        page,
        """
        const { client, sent, say, welcome } = start();
        welcome();
        const { id } = sent.find(({ t }) => t === "sync");
        say({ t: "heads", id, heads: { "alice:bob": 250, "alice:carol": 3 } });
        const before = sent.filter(({ t }) => t === "history").length;
        client.look("bob", 0, false);
        client.look("bob", 0, false);
        const { after } = sent.find(({ t }) => t === "history");
        const contacts = client.picture(null).contacts;
        return [before, after, contacts.map(({ contact, unread }) => [contact, unread])];
        """,
    ) == [0, 150, [["bob", 250], ["carol", 3]]]


def test_scrolling_back_asks_for_older_pages_until_there_is_nothing_before(
    page: webdriver.Chrome,
) -> None:
    assert run(
        page,
        """
        const { client, sent, say, begin } = start();
        const said = (...seqs) => seqs.map((seq) => message(seq, "bob", `k${seq}`, `body ${seq}`));
        const asked = () => sent.filter(({ before }) => before);
        const answer = (fields) =>
          say({ t: "page", id: asked().at(-1).id, conversation: "alice:bob", known: 7, ...fields });
        client.look("bob", 0, true);
        begin();
        say({ t: "error", id: 99, code: 122, retry: false });
        for (const seq of [1, 2, 3]) say({ t: "message", ...said(seq)[0] });
        client.store.open("bob").messages.splice(0, 2); // as if 1 and 2 were of before this page
        client.store.queue("bob", "q", "waits");
        client.look("bob", 0, true);
        client.look("bob", 0, true);
        answer({ messages: said(2) });
        client.look("bob", 0, true);
        answer({ messages: said(1), first: true });
        client.look("bob", 0, true);
        const { messages, whole } = client.picture("bob").conversation;
        return [asked().map(({ before }) => before), messages.map(({ seq }) => seq), whole];
        """,
    ) == [[3, 2], [1, 2, 3, None], True]


def test_what_is_shown_was_received_and_what_is_looked_at_was_read(page: webdriver.Chrome) -> None:
    assert run(
        page,
        """
        const { client, sent, say, begin } = start();
        begin();
        ["bob", "alice", "bob"].forEach((from, index) =>
          say({ t: "message", ...message(index + 1, from, `k${index}`, "body") }));
        const receipts = () =>
          sent.filter(({ t }) => ["read", "received"].includes(t)).map(({ t, seq }) => [t, seq]);
        const before = [receipts(), client.picture("bob").contacts[0].unread];
        client.look("bob", 99, false);
        const later = receipts().slice(before[0].length);
        return [...before, later, client.picture("bob").contacts[0].unread];
        """,
    ) == [[["received", 1], ["read", 2], ["read", 2], ["received", 3]], 1, [["read", 3]], 0]


def test_another_log_drops_what_was_numbered_and_keeps_what_waits(page: webdriver.Chrome) -> None:
    assert run(
        page,
        """
        const { client, sent, say, begin, lose, welcome } = start();
        begin();
        say({ t: "message", ...message(1, "bob", "b", "one") });
        client.queue("bob", "a", "waits");
        lose();
        welcome("another");
        return shown(client.store);
        """,
    ) == [[None, "waits", "queued"]]


def test_who_writes_stops_with_a_message_or_after_a_while(page: webdriver.Chrome) -> None:
    assert run(
        page,
        """
        const presence = new Presence();
        presence.wrote("bob", 0);
        presence.wrote("carol", 1000);
        const text = () => presence.text("bob", { online: true });
        const writing = [text(), presence.wakeAt(), presence.passed(5999)];
        const passed = [presence.passed(6000), text(), presence.wakeAt()];
        presence.stopped("carol");
        return [writing, passed, presence.text("carol"), presence.wakeAt()];
        """,
    ) == [["typing…", 6000, False], [True, "online", 7000], "", None]


def test_nothing_leaves_before_it_is_saved_also_when_the_disk_fails_for_a_while(
    page: webdriver.Chrome,
) -> None:
    """Once a message left 5 s after a save had failed, and was not on disk when the tab said it
    again to the device's successor."""
    assert run(
        page,
        """
        const saved = [];
        let fails = 0;
        const save = async (changes) => {
          if (fails-- > 0) throw new Error("the disk is full");
          saved.push(...changes);
        };
        const { client, sent, say, begin } = start({ save });
        begin();
        await pause(0);
        fails = 2;
        const safe = [];
        client.queue("bob", "a", "one").then(() => safe.push("a"));
        client.queue("bob", "b", "two").then(() => safe.push("b"));
        await pause(100);
        const sends = () => sent.filter(({ t }) => t === "send").map(({ key }) => key);
        client.typing("bob");
        const before = [sends(), [...safe], client.picture("bob").problem, sent.at(-1).t];
        await pause(2500);
        const kept = saved.filter(({ send }) => send?.ordinal).map(({ send }) => send.key);
        return [before, sends(), kept, safe, client.picture("bob").problem];
        """,
    ) == [
        [[], [], "This browser cannot keep what is sent: the disk is full", "typing"],
        ["a", "b"],
        ["a", "b"],
        ["a", "b"],
        "",
    ]


def test_what_was_due_to_a_lost_connection_is_not_sent_twice_to_the_next(
    page: webdriver.Chrome,
) -> None:
    assert run(
        page,
        """
        let done = () => {};
        const save = () => new Promise((saved) => { done = saved; });
        const { client, sent, begin, lose, welcome } = start({ save });
        begin();
        client.queue("bob", "a", "one");
        lose();
        welcome();
        for (let turn = 0; turn < 5; turn++) {
          done();
          await pause(0);
        }
        return sent.filter(({ t }) => t === "send").map(({ key, round }) => [key, round]);
        """,
    ) == [["a", 2]]


@pytest.mark.parametrize("path", ["/example.html", "/shop/mine.html"])
def test_the_quickstart_sends_a_message_and_shows_it(
    stack: Stack, browser: webdriver.Chrome, path: str
) -> None:
    """Also on a page that an application serves elsewhere on the same origin."""
    (code,) = [one.code for one in blocks(section("docs/QUICKSTART.md", "JavaScript"))]
    browser.get(f"{stack.gateway_urls[0]}/example.html")
    browser.execute_script(f"history.replaceState(null, '', '{path}')")
    browser.set_script_timeout(60)
    assert browser.execute_async_script(
        """
            const done = arguments[arguments.length - 1];
            console.log = (said) => {
              const last = said?.at(-1);
              if (last?.[2] === "sent") done({ value: last });
            };
            (async () => {
            """
        + code
        + "})().catch((error) => done({ error: String(error.stack) }));"
    ) == {"value": ["ann", "Lunch?", "sent"]}


def test_the_example_page_without_a_name_logs_nobody_in(
    stack: Stack, browser: webdriver.Chrome
) -> None:
    browser.get_log("browser")
    browser.get(f"{stack.gateway_urls[0]}/example.html")
    Wait(browser, 60).until(lambda page: page.find_element(By.ID, "nobody").is_displayed())
    assert not browser.find_element(By.ID, "form").is_displayed()
    assert browser.get_log("browser") == []
