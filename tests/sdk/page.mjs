// Tests of the page's pure modules, for node (tests/sdk/test_page.py).

import assert from "node:assert/strict";
import test from "node:test";

import { Drafts } from "../../clients/web/drafts.js";
import { day, dayOf, fate, fateText, lastSeen, shortTime } from "../../clients/web/format.js";
import { Store } from "../../clients/web/store.js";

const at = (...parts) => new Date(2026, 10, ...parts).getTime(); // November, by the clock of this place
const NOW = at(30, 9, 5);
const message = (seq, from = "bob") => ({ conversation: "alice:bob", seq, from, key: `k${seq}`, time: seq, body: `body ${seq}` });
const filled = (last) => {
  const store = new Store("alice");
  for (let seq = 1; seq <= last; seq++) store.place(message(seq));
  return store;
};
const numbers = ({ messages }) => [messages[0]?.seq, messages.at(-1)?.seq, messages.length];

test("days have the names that people use", () => {
  assert.equal(day(at(30, 0, 0), NOW), "Today");
  assert.equal(day(at(29, 23, 59), NOW), "Yesterday");
  assert.equal(day(at(28, 12), NOW), new Intl.DateTimeFormat([], { weekday: "long" }).format(at(28)));
  assert.match(day(at(20, 12), NOW), /2026/);
  assert.match(day(at(31, 12), NOW), /2026/); // a clock that goes wrong
  assert.notEqual(dayOf(at(29, 23, 59)), dayOf(at(30, 0, 0)));
  assert.equal(shortTime(at(29, 1), NOW), "Yesterday");
  assert.match(shortTime(at(30, 9, 5), NOW), /05/);
  assert.match(lastSeen(at(29, 12, 30), NOW), /^last seen yesterday at .*30/);
});

test("the fate of a message is what the other one's marks say", () => {
  const fates = (seq, state, mark) => fate({ seq, state }, mark);
  assert.equal(fates(5, "sent", { received: 4, read: 3 }), "sent");
  assert.equal(fates(5, "sent", { received: 5, read: 4 }), "delivered");
  assert.equal(fates(5, "sent", { received: 5, read: 5 }), "read");
  assert.equal(fates(null, "queued", { received: 9, read: 9 }), "queued");
  assert.equal(fateText("refused", "too long"), "not sent: too long");
});

test("a window of a conversation holds its last messages, or those from a number on", () => {
  const store = filled(900);
  store.queue("bob", "q", "waits");
  const last = store.window("bob", null);
  assert.deepEqual([last.messages[0].seq, last.messages.at(-1).seq, last.earlier, last.later], [702, null, true, 0]);
  const early = store.window("bob", 101);
  assert.deepEqual([...numbers(early), early.earlier, early.later], [101, 400, 300, true, 501]);
  assert.deepEqual(numbers(store.window("bob", 1)), [1, 300, 300]);
  assert.equal(store.window("bob", undefined).messages.length, 901);
  assert.deepEqual(store.window("carol", null), { messages: [], earlier: false, later: 0 });
});

test("a conversation stands where it was last written in, or was opened first", () => {
  const store = new Store("alice");
  store.foretell({ ...message(7), body: "foretold", time: 100 });
  store.look("carol", 50);
  store.look("dora", 200);
  assert.deepEqual(store.list().map(({ contact }) => contact), ["dora", "bob", "carol"]);
  assert.equal(store.latest("bob").body, "foretold");
  assert.equal(store.latest("carol"), null);
  store.place({ ...message(8), time: 300 });
  assert.equal(store.list()[0].contact, "bob");
  assert.equal(store.latest("bob").seq, 8);
  store.forget();
  assert.equal(store.latest("bob"), null);
});

test("drafts are kept by user and contact, and a full storage does no harm", () => {
  const kept = new Map();
  const storage = {
    getItem: (name) => kept.get(name) ?? null, setItem: (name, value) => kept.set(name, value), removeItem: (name) => kept.delete(name),
  };
  new Drafts("alice", storage).set("bob", "half a");
  assert.equal(new Drafts("alice", storage).get("bob"), "half a");
  assert.equal(new Drafts("alice", storage).get("carol"), "");
  assert.equal(new Drafts("carol", storage).get("bob"), "");
  new Drafts("alice", storage).set("bob", "  ");
  assert.equal(kept.size, 0);
  storage.setItem = () => { throw new Error("full"); };
  new Drafts("alice", storage).set("bob", "more");
});
