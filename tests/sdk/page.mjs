// Tests of the page's pure modules, for node (tests/sdk/test_page.py).

import assert from "node:assert/strict";
import test from "node:test";

import { Device } from "../../clients/web/device.js";
import { Drafts } from "../../clients/web/drafts.js";
import { Finder } from "../../clients/web/finder.js";
import { day, dayOf, fate, fateText, lastSeen, shortTime } from "../../clients/web/format.js";
import { news } from "../../clients/web/notices.js";
import { pictureOf } from "../../clients/web/pictures.js";
import { line, parts, quote, reply } from "../../clients/web/richtext.js";
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

test("a stranger's conversation is a request until the person decides", () => {
  const device = new Device("alice", {}, { jitter: () => 0.5, newId: () => "0".repeat(32) });
  const client = { device, store: filled(1), presence: { text: () => "" } };
  const requests = (frame) => {
    device.receive({ t: "person", user: "bob", ...frame }, 0);
    const { contacts, conversation } = pictureOf(client, "bob", null, 0);
    return [contacts[0].request, conversation.request];
  };
  assert.deepEqual(requests({ request: true }), [true, true]);
  assert.deepEqual(requests({ contact: true }), [false, false]);
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
  const refused = new Store("alice");
  refused.queue("bob", "r", "refused");
  refused.failed("r", "refused");
  refused.place(message(1));
  assert.deepEqual([refused.window("bob", 1).messages.length, refused.window("bob", 1).earlier], [2, false]);
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

test("what an earlier life has kept stays only if what comes now goes on from it", () => {
  const kept = { ...filled(150).copy("bob", 100), mark: { received: 150, read: 149 }, unread: 1 };
  assert.deepEqual(numbers(kept), [51, 150, 100]);
  const goesOn = new Store("alice");
  goesOn.bringBack([structuredClone(kept)]);
  goesOn.queue("bob", "q", "waits");
  goesOn.place(message(140));
  goesOn.place(message(151));
  assert.deepEqual(numbers(goesOn.window("bob")), [51, null, 102]);
  const hole = new Store("alice");
  hole.bringBack([structuredClone(kept)]);
  hole.queue("bob", "q", "waits");
  hole.place(message(152));
  assert.deepEqual(hole.open("bob").messages.map(({ seq }) => seq), [152, null]);
  assert.equal(hole.copy("bob", 100).messages.length, 1); // what waits is in the outbox
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

test("links are of the web only, and end where the sentence goes on", () => {
  const links = (text) => parts(text).filter(({ href }) => href).map(({ href }) => href);
  assert.deepEqual(parts("see https://a.example/x?y=1, ok"), [
    { text: "see " }, { text: "https://a.example/x?y=1", href: "https://a.example/x?y=1" }, { text: ", ok" },
  ]);
  assert.deepEqual(links("(https://a.example/b_(c)) and https://d.example/e). HTTP://F.example!"), [
    "https://a.example/b_(c)", "https://d.example/e", "HTTP://F.example",
  ]);
  assert.deepEqual(links("javascript:alert(1) data:text/html,x ftp://a.example file:///etc/passwd https://"), []);
  assert.deepEqual(links("https://bank.example@evil.example/ https://a:b@evil.example"), []);
  assert.deepEqual(links('https://a.example/"onclick="x <https://b.example>'), ["https://a.example/", "https://b.example"]);
  assert.deepEqual(links("https://a.example/\u202egnp.exe"), ["https://a.example/"]);
  assert.deepEqual(parts(""), []);
});

test("a reply quotes the message that it answers, and not what that one quotes", () => {
  const first = quote("bob", "one\n\ntwo");
  assert.equal(first, "> bob: one\n> \n> two\n");
  assert.deepEqual(reply(`${first}mine`), { author: "bob", quoted: "one\n\ntwo", text: "mine" });
  assert.equal(quote("alice", `${first}mine`), "> alice: mine\n");
  assert.deepEqual(reply("> no author\nx"), { author: null, quoted: null, text: "> no author\nx" });
  assert.deepEqual(reply("plain"), { author: null, quoted: null, text: "plain" });
  assert.ok(quote("bob", "😀".repeat(200)).length < 180);
  assert.ok(quote("bob", "😀".repeat(200)).isWellFormed());
  assert.equal(line(`${first}mine\nand more`), "mine and more");
});

test("only what has come from others since the page was opened is news", () => {
  const known = new Map();
  const entry = (seq, from = "bob", rest = {}) => ({ contact: "bob", unread: 1, latest: { seq, from, body: `b${seq}`, time: seq }, ...rest });
  const found = (...parts) => news([entry(...parts)], known, "alice", 5);
  assert.deepEqual(found(4), []); // of before the page was opened
  assert.deepEqual(found(5), [{ contact: "bob", body: "b5" }]);
  assert.deepEqual(found(5), []);
  assert.deepEqual(found(6, "alice"), []);
  assert.deepEqual(found(7, "bob", { unread: 0 }), []); // read elsewhere
});

test("a search goes as far back as there are messages", () => {
  const store = filled(120);
  store.open("bob").messages.splice(0, 100); // of before this page
  const asked = [], found = [];
  const finder = new Finder(store, (contact) => asked.push([contact, store.oldest(contact)]));
  const find = (text, before = null) => finder.find("tab", { contact: "bob", text, before }, (seq) => found.push(seq));
  find("BODY 11");
  find("body 11", 119);
  find("body 7", 119);
  assert.deepEqual([found, asked], [[119, 118], [["bob", 101]]]);
  const older = (from, to, first) =>
    store.older("bob", Array.from({ length: to - from + 1 }, (_, index) => message(from + index)), first);
  older(81, 100, false);
  finder.goOn();
  older(1, 80, true);
  finder.goOn();
  assert.deepEqual([found, asked.length], [[119, 118, 79], 2]);
  store.place({ ...message(121), body: "body 2, changed", changes: 2, version: 121 });
  find("changed");
  assert.equal(found.at(-1), 2); // the message, not its change
  find("nowhere");
  assert.equal(found.at(-1), null);
});
