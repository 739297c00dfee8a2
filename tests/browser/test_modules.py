"""The page's modules by themselves, in the browser they are for."""

from typing import Any

import pytest
from selenium import webdriver

from tests.harness.stack import Stack

pytestmark = [pytest.mark.real, pytest.mark.browser]


@pytest.fixture
def page(stack: Stack, browser: webdriver.Chrome) -> webdriver.Chrome:
    """The page, loaded anew."""
    browser.get(stack.gateway_urls[0])
    return browser


_BEFORE = """
const done = arguments[arguments.length - 1];
(async () => {
  const { Outbox } = await import("/outbox.js");
  const { Store } = await import("/store.js");
  const { CatchUp } = await import("/catchup.js");
  const { ScrollBack } = await import("/scrollback.js");
  const { Marks } = await import("/marks.js");
  let ids = 0, questions = 0;
  const nextId = () => ++questions;
  const box = (count) => {
    const outbox = new Outbox(() => `id-${++ids}`);
    for (let number = 1; number <= count; number++) outbox.add("bob", `key-${number}`, `body ${number}`);
    return outbox;
  };
  const ordinals = (frames) => frames.map((frame) => frame.ordinal);
  const shown = (store) => store.open("bob").messages.map(({ seq, body, state }) => [seq, body, state]);
  const message = (seq, from, key, body) => ({ conversation: "alice:bob", seq, from, key, time: 1, body });
"""
_AFTER = """
})().then((value) => done({ value }), (error) => done({ error: String(error.stack) }));
"""


def run(page: webdriver.Chrome, script: str) -> Any:
    """What a script returns that may use the page's modules; a lane of sends to bob begins with
    `box(count)`."""
    result = page.execute_async_script(_BEFORE + script + _AFTER)
    assert "error" not in result, result["error"]
    return result["value"]


def test_a_browser_is_told_why_it_was_sent_away(page: webdriver.Chrome) -> None:
    assert (
        run(
            page,
            """
        const socket = new WebSocket(new URL("/v1/socket", location.href.replace("http", "ws")));
        socket.onopen = () => socket.send(JSON.stringify({ t: "hello", id: 1, version: 1, token: "none", device: "d" }));
        return new Promise((closed) => { socket.onclose = ({ code }) => closed(code); });
        """,
        )
        == 4500
    )


def test_the_outbox_repeats_from_the_oldest_after_its_patience_only(page: webdriver.Chrome) -> None:
    assert run(
        page,
        """
        const outbox = box(2);
        const first = ordinals(outbox.transmit(0));
        outbox.add("bob", "key-3", "body 3");
        const more = ordinals(outbox.transmit(4000)), due = outbox.resendAt();
        outbox.answered("bob", "key-1", 4500);
        const early = ordinals(outbox.transmit(5000)), again = ordinals(outbox.transmit(9500));
        return { first, more, due, early, again };
        """,
    ) == {"first": [1, 2], "more": [3], "due": 5000, "early": [], "again": [2, 3]}


def test_the_outbox_keeps_to_its_window_and_ordinals_over_a_reconnect(
    page: webdriver.Chrome,
) -> None:
    assert run(
        page,
        """
        const outbox = box(70);
        const first = outbox.transmit(0);
        outbox.answered("bob", "key-1", 0);
        const next = ordinals(outbox.transmit(0));
        outbox.reconnected();
        const again = outbox.transmit(0);
        return [first.length, next, again.length, again[0].ordinal, again[0].round - first[0].round];
        """,
    ) == [64, [65], 64, 2, 1]


def test_out_of_step_is_acted_on_once_and_a_forgotten_outbox_ends(page: webdriver.Chrome) -> None:
    assert run(
        page,
        """
        const outbox = box(2);
        const [first] = outbox.transmit(0);
        const gap = { outbox: first.outbox, round: first.round, next: 1, reason: "gap", key: "key-2" };
        outbox.outOfStep("bob", gap, 0);
        const again = outbox.transmit(0);
        outbox.outOfStep("bob", gap, 0);
        const once = outbox.transmit(0);
        outbox.answered("bob", "key-1", 0);
        outbox.reconnected();
        const [second] = outbox.transmit(0);
        const lost = outbox.outOfStep("bob", { ...gap, round: second.round }, 0);
        outbox.add("bob", "key-3", "body 3");
        const [third] = outbox.transmit(0);
        return [ordinals(again), once, second.ordinal, lost, third.ordinal, third.outbox !== first.outbox];
        """,
    ) == [[1, 2], [], 2, ["key-2"], 1, True]


def test_what_is_turned_away_goes_again_or_ends(page: webdriver.Chrome) -> None:
    assert run(
        page,
        """
        const outbox = box(2);
        const [first] = outbox.transmit(0);
        outbox.failed({ to: "bob", outbox: first.outbox, retry: true }, 0);
        outbox.answered("bob", "key-1", 500);
        const again = ordinals(outbox.transmit(1000));
        return [again, outbox.failed({ to: "bob", outbox: first.outbox, retry: false }, 0), outbox.size];
        """,
    ) == [[2], ["key-2"], 0]


def test_an_own_message_whose_answer_was_lost_takes_its_place(page: webdriver.Chrome) -> None:
    assert run(
        page,
        """
        const store = new Store("alice");
        store.take(message(1, "bob", "b", "one"));
        store.take(message(2, "alice", "a", "mine"));
        store.queue("bob", "a", "mine");  // as if it had been queued all the time
        store.take(message(3, "bob", "c", "three"));
        store.take(message(2, "alice", "a"));
        store.take(message(2, "alice", "a"));
        return shown(store).filter(([, body]) => body === "mine").map(([seq]) => seq);
        """,
    ) == [2, 2]


def test_a_refused_message_keeps_its_place_and_queued_ones_stay_last(
    page: webdriver.Chrome,
) -> None:
    assert run(
        page,
        """
        const store = new Store("alice");
        store.queue("bob", "a", "refused");
        store.queue("bob", "d", "waits");
        store.mark("a", "refused");
        store.take(message(1, "bob", "b", "one"));
        store.take(message(2, "bob", "a", "another's key"));
        return shown(store);
        """,
    ) == [
        [None, "refused", "refused"],
        [1, "one", "sent"],
        [2, "another's key", "sent"],
        [None, "waits", "queued"],
    ]


def test_what_comes_early_waits_and_is_asked_for(page: webdriver.Chrome) -> None:
    assert run(
        page,
        """
        const store = new Store("alice"), sent = [];
        const catchUp = new CatchUp(store, (frames) => sent.push(...frames), nextId);
        catchUp.begin();
        catchUp.heads({ id: sent[0].id, heads: {} });
        store.take(message(1, "bob", "k1", "one"));
        store.take(message(3, "bob", "k3", "three"));
        catchUp.ask();
        catchUp.ask();
        const [sync, range, ...more] = sent;
        const held = shown(store).length;
        catchUp.page({ id: range.id, conversation: "alice:bob", known: 4, messages: [message(2, "bob", "k2", "two")] });
        catchUp.ask();
        const again = sent.at(-1);
        catchUp.error({ id: again.id, code: 122, retry: false });
        store.take(message(6, "bob", "k6", "six"));
        catchUp.ask();
        catchUp.error({ id: sent.at(-1).id, code: 122, retry: false });
        const gaps = store.open("bob").messages.map(({ seq, missing }) => [seq, missing]);
        return [sync.t, range.after, more, held, again.after, gaps];
        """,
    ) == ["sync", 1, [], 1, 3, [[1, 0], [2, 0], [3, 0], [6, 2]]]


def test_what_could_not_be_asked_after_is_asked_again(page: webdriver.Chrome) -> None:
    assert run(
        page,
        """
        Math.random = () => 0;
        const store = new Store("alice"), sent = [];
        const catchUp = new CatchUp(store, (frames) => sent.push(...frames), nextId);
        catchUp.begin();
        catchUp.heads({ id: sent[0].id, heads: { "alice:bob": 2 }, next: "alice:bob", pending: true });
        catchUp.ask();
        const begun = [store.begun];
        catchUp.heads({ id: sent[1].id, heads: {} });
        begun.push(store.begun);
        await new Promise((done) => setTimeout(done, 20));
        catchUp.heads({ id: sent[2].id, heads: {} });
        begun.push(store.begun);
        return [sent.map(({ t, after, until }) => [t, after, until]), begun.map(Boolean)];
        """,
    ) == [
        [["sync", "", ""], ["sync", "alice:bob", ""], ["sync", "", "alice:bob"]],
        [False, False, True],
    ]


def test_what_there_was_before_the_page_is_brought_back_when_opened(page: webdriver.Chrome) -> None:
    assert run(
        page,
        """
        const store = new Store("alice");
        store.heads({ "alice:bob": 250, "alice:carol": 3 });
        store.begun = true;
        const before = store.behind().length, cursors = [...store.cursors()];
        store.recall("bob");
        store.heads({ "alice:dave": 2 });
        return [before, cursors, store.behind().map(({ contact, cursor, head }) => [contact, cursor, head])];
        """,
    ) == [0, [["alice:bob", 250], ["alice:carol", 3]], [["bob", 150, 250], ["dave", 0, 2]]]


def test_the_page_keeps_a_bounded_number_of_messages(page: webdriver.Chrome) -> None:
    assert run(
        page,
        """
        const store = new Store("alice");
        for (let seq = 1; seq <= 1200; seq++) store.take(message(seq, "bob", `k${seq}`, `body ${seq}`));
        const { messages } = store.open("bob");
        return [messages.length, messages[0].seq, messages.at(-1).seq];
        """,
    ) == [1000, 201, 1200]


def test_scrolling_back_asks_for_older_pages_until_there_is_nothing_before(
    page: webdriver.Chrome,
) -> None:
    assert run(
        page,
        """
        const store = new Store("alice"), sent = [];
        const scrollBack = new ScrollBack(store, (frames) => sent.push(...frames), nextId);
        const said = (...seqs) => seqs.map((seq) => message(seq, "bob", `k${seq}`, `body ${seq}`));
        const answer = (question, fields) => scrollBack.page({ id: question?.id, conversation: "alice:bob", ...fields });
        scrollBack.more("bob");
        const before = sent.length;
        Object.assign(store.open("bob"), { cursor: 4, head: 4 });
        said(5, 6, 7).forEach((frame) => store.take(frame));
        store.queue("bob", "q", "waits");
        scrollBack.more("bob");
        scrollBack.more("bob");
        const others = answer({ id: 99 }, { messages: [] });
        answer(sent[0], { messages: said(3, 4) });
        scrollBack.more("bob");
        answer(sent[1], { messages: said(1, 2), first: true });
        scrollBack.more("bob");
        const seqs = shown(store).map(([seq]) => seq);
        return [before, others, sent.map((question) => question.before), seqs, store.open("bob").whole];
        """,
    ) == [0, False, [5, 3], [1, 2, 3, 4, 5, 6, 7, None], True]


def test_the_last_of_each_is_what_was_received_and_what_was_written(page: webdriver.Chrome) -> None:
    assert run(
        page,
        """
        const store = new Store("alice");
        const before = store.last("bob", "alice");
        ["bob", "alice", "bob"].forEach((from, index) => store.take(message(index + 1, from, `k${index}`, "body")));
        store.queue("bob", "q", "waits");
        return [before, store.last("bob", "alice"), store.last("bob", "bob")];
        """,
    ) == [0, 2, 3]


def test_a_receipt_that_was_not_taken_is_said_again_later_and_later(page: webdriver.Chrome) -> None:
    assert run(
        page,
        """
        const sent = [], waits = [], timers = [];
        Math.random = () => 0.5;
        window.setTimeout = (then, wait) => timers.push([then, wait]);
        const marks = new Marks("alice", (frames) => sent.push(...frames), nextId);
        marks.seen("alice:bob", 3);
        marks.seen("alice:carol", 2);
        marks.take({ conversation: "alice:carol", user: "alice", received: 2, read: 0 });
        marks.say();
        const refuse = () => [marks.error({ code: 121, retry: true }), marks.error({ code: 120, retry: true })];
        const said = [];
        for (let round = 0; round < 3; round++) {
          refuse();
          const [[then, wait], ...more] = timers.splice(0);
          waits.push(wait, more.length);
          sent.splice(0);
          then();
          const [{ t, id, conversations }] = sent.splice(0);
          marks.answer({ id, marks: [] });
          marks.say();
          said.push([t, conversations, sent.map(({ t, conversation, seq }) => [t, conversation, seq])]);
        }
        marks.begin(["alice:bob"]);
        marks.answer({ id: sent.at(-1).id, marks: [{ conversation: "alice:bob", user: "alice", received: 3, read: 0 }] });
        const others = [marks.error({ code: 120, retry: true, to: "bob" }), marks.error({ code: 113, retry: false })];
        return [said, waits, refuse(), timers[0][1], others];
        """,
    ) == [
        [["get_marks", ["alice:bob"], [["received", "alice:bob", 3]]]] * 3,
        [400, 0, 800, 0, 1600, 0],
        [True, True],
        400,
        [False, False],
    ]


def test_marks_are_said_once_said_again_when_lost_and_never_go_back(page: webdriver.Chrome) -> None:
    assert run(
        page,
        """
        const sent = [];
        const marks = new Marks("alice", (frames) => sent.push(...frames), nextId);
        marks.seen("alice:bob", 3);
        marks.seen("alice:bob", 2);
        marks.seen("alice:bob", 1, true);
        marks.say();
        marks.say();
        const said = sent.splice(0);
        marks.begin(["alice:bob"]);
        const [asked] = sent.splice(0);
        const mark = (user, received, read) => ({ conversation: "alice:bob", user, received, read });
        marks.answer({ id: asked.id, marks: [mark("alice", 3, 0), mark("bob", 9, 7)] });
        marks.take(mark("bob", 8, 8));
        marks.say();
        const brief = (frames) => frames.map(({ t, seq }) => [t, seq]);
        const before = [brief(said), brief(sent.splice(0)), marks.of("alice:bob", "bob"), marks.readUpTo("alice:bob")];
        marks.seen("alice:bob", 4);
        marks.forget(); // another numbering
        marks.begin(["alice:bob"]);
        marks.answer({ id: sent.splice(0)[0].id, marks: [] });
        marks.say();
        return [before, sent, marks.of("alice:bob", "bob"), marks.readUpTo("alice:bob")];
        """,
    ) == [
        [
            [["read", 1], ["received", 3]],
            [["read", 1], ["received", 3]],
            {"received": 9, "read": 8},
            1,
        ],
        [],
        {"received": 0, "read": 0},
        0,
    ]


def test_conversations_that_are_found_later_are_asked_after_once_a_session(
    page: webdriver.Chrome,
) -> None:
    assert (
        run(
            page,
            """
        const sent = [];
        const marks = new Marks("alice", (frames) => sent.push(...frames), nextId);
        for (let session = 0; session < 2; session++) {
          marks.begin(["alice:bob"]);
          marks.found(["alice:carol", "alice:bob"]);
          marks.found(["alice:carol"]);
          marks.answer({ id: sent.at(-1).id, marks: [] });
          marks.answer({ id: sent.at(-1).id, marks: [] });
        }
        return sent.map(({ conversations }) => conversations);
        """,
        )
        == [["alice:bob"], ["alice:carol"]] * 2
    )
