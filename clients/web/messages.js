// The messages of the open conversation. Of a long one a window is drawn, which moves as the person
// scrolls; what is in sight stays where it is, whatever comes before or after it.

import { tickOf } from "./contactlist.js";
import { $, arrange, make } from "./dom.js";
import { clock, day, dayOf, fate } from "./format.js";
import { parts, reply } from "./richtext.js";

const LATEST = 200; // messages that a window begins with; client.js gives no more of the last
const STEP = 100; // by so many a window moves
const NEAR = 60; // px from the end that count as the end
const END = "end"; // a goal: the last message; other goals are numbers of messages
const JOINED = 300_000; // ms within which messages of one person stand together

export class Messages {
  // on: moved() when something else is in sight
  constructor(on) {
    this.list = $("messages");
    this.on = on;
    this.list.onscroll = () => this.#scrolled();
    $("latest").onclick = () => this.toEnd();
    // a keyboard that opens, or a field that grows, hides nothing of the end
    new ResizeObserver(() => this.stuck && this.#scrollToEnd()).observe(this.list);
    this.open();
  }

  // Another conversation will be drawn.
  open() {
    this.shown = new Map();
    this.conversation = null;
    this.from = null;
    this.stuck = true;
    this.line = null;
    this.away = false;
    this.told = null;
    this.found = null;
    this.goal = null;
    this.list.replaceChildren();
    $("latest").hidden = true;
  }

  // The person has turned away from the page: what comes now is new when they are back.
  leave() {
    this.away = true;
    this.line = null;
  }

  back() {
    this.away = false;
  }

  // To the last message, because the person has sent one or wants it.
  toEnd() {
    this.from = null;
    this.line = null;
    this.goal = this.conversation?.later ? END : null;
    if (!this.goal) {
      this.stuck = true;
      this.#scrollToEnd();
    }
    this.on.moved();
  }

  // The last message gets the focus.
  focus() {
    [...this.shown.values()].at(-1)?.focus();
  }

  // A message that was searched for comes into sight; null: none is any more.
  show(seq) {
    if (seq === this.found) return;
    this.found = seq;
    this.goal = seq;
    this.stuck = this.stuck && seq === null;
    if (this.#mark() || seq === null) return;
    this.from = Math.max(1, seq - STEP);
    this.on.moved();
  }

  // The message of an element.
  of(element) {
    return this.conversation.messages.find((message) => this.shown.get(nameOf(message)) === element);
  }

  // What the window should show: `from` the number of its first message, null for the last ones;
  // `older` messages if there are; `read`: what the person has seen.
  sight() {
    const { list, conversation } = this;
    if (!conversation) return { from: null, older: false, read: 0 };
    const { messages, earlier, later } = conversation;
    const numbered = messages.filter(({ seq }) => seq !== null);
    const above = list.scrollTop < list.clientHeight;
    const below = this.#left() < list.clientHeight;
    if ((conversation.from ?? null) !== this.from) return { from: this.from, older: false, read: 0 }; // it is on its way
    if (above && earlier) this.from = Math.max(1, (numbered[0]?.seq ?? conversation.cursor) - STEP);
    else if (below && later) this.from = numbered[STEP]?.seq ?? null;
    else if (this.stuck && messages.length > LATEST) this.from = null;
    return { from: this.from, older: above && !earlier, read: document.hidden ? 0 : this.#seen() };
  }

  // conversation: of a picture
  draw(conversation, me, now) {
    const first = !this.conversation;
    const places = this.#places();
    this.conversation = conversation;
    if (conversation.unread && this.line === null && (first || this.away || !this.stuck)) this.line = conversation.read + 1;
    const wanted = this.#elements(conversation, me, now);
    arrange(this.list, wanted);
    const line = /** @type {HTMLElement | null} */ (this.list.querySelector(".line"));
    if (first && line) this.list.scrollTop = line.offsetTop - this.list.clientHeight / 4;
    else if ((this.stuck || this.goal === END) && !conversation.later) this.#scrollToEnd();
    else this.#keep(places);
    this.#mark();
    this.stuck = this.#left() < NEAR && !conversation.later;
    if (this.stuck && this.goal === END) this.goal = null;
    this.#drawJump();
    this.#tell(conversation, me);
  }

  // Marks the message that was found, and puts it in the middle when it is there first; whether it is.
  #mark() {
    const message = this.conversation?.messages.find(({ seq }) => seq !== null && seq === this.found);
    const element = message && this.shown.get(nameOf(message));
    for (const marked of this.list.querySelectorAll(".found")) if (marked !== element) marked.classList.remove("found");
    element?.classList.add("found");
    if (element && this.goal === this.found) {
      this.goal = null;
      element.scrollIntoView({ block: "center" });
    }
    return Boolean(element);
  }

  #scrolled() {
    this.stuck = this.#left() < NEAR && !this.conversation?.later;
    this.#drawJump();
    this.on.moved();
  }

  #drawJump() {
    const unread = this.conversation?.unread ?? 0;
    $("latest").hidden = this.stuck || !this.conversation;
    $("latest-unread").hidden = !unread;
    $("latest-unread").textContent = unread > 99 ? "99+" : `${unread}`;
    $("latest").setAttribute("aria-label", unread ? `To the latest messages, ${unread} unread` : "To the latest messages");
  }

  // A screen reader is told what the other one says while the conversation is open.
  #tell({ messages }, me) {
    const newest = messages.findLast(({ seq }) => seq !== null);
    const news = messages.filter(({ seq, from, changes }) => this.told !== null && seq > this.told && from !== me && !changes);
    if (news.length) $("announce").textContent = news.map(({ from, body }) => `${from}: ${reply(body).text}`).join("\n");
    this.told = Math.max(this.told ?? 0, newest?.seq ?? 0);
  }

  #left() {
    return this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight;
  }

  #scrollToEnd() {
    this.list.scrollTop = this.list.scrollHeight;
  }

  // Where the messages in sight are.
  #places() {
    const { top, bottom } = this.list.getBoundingClientRect();
    return [...this.shown.values()]
      .map((element) => ({ element, box: element.getBoundingClientRect() }))
      .filter(({ box }) => box.bottom > top && box.top < bottom);
  }

  // Whatever was drawn around them, they are where they were.
  #keep(places) {
    const kept = places.find(({ element }) => element.isConnected);
    if (kept) this.list.scrollTop += kept.element.getBoundingClientRect().top - kept.box.top;
  }

  // The last message that has come into sight.
  #seen() {
    const { messages, cursor } = this.conversation;
    if (this.stuck) return cursor;
    const { bottom } = this.list.getBoundingClientRect();
    const last = messages.findLast((message) =>
      message.seq !== null && this.shown.get(nameOf(message))?.getBoundingClientRect().bottom <= bottom + NEAR);
    return last?.seq ?? 0;
  }

  #elements({ messages, whole, deep, mark }, me, now) {
    const shown = new Map();
    const wanted = [];
    if (whole) wanted.push(note("This is the beginning of the conversation."));
    if (deep) wanted.push(note("This page shows nothing earlier."));
    let before = null;
    let numbered = null; // the last number that is drawn
    for (const message of messages) {
      if (message.changes) continue; // its message shows it
      const newDay = !before || dayOf(message.time) !== dayOf(before.time);
      if (newDay) wanted.push(note(day(message.time, now), "day"));
      if (message.missing) wanted.push(note(`${message.missing} earlier messages can no longer be had here`));
      // the first unread one may be a change, which is not drawn
      const crossed = numbered === null ? message.seq === this.line : numbered < this.line && message.seq >= this.line;
      const line = this.line !== null && crossed;
      if (line) wanted.push(note("New messages", "line"));
      const joined = !newDay && !line && before.from === message.from && message.time - before.time < JOINED;
      const element = this.shown.get(nameOf(message)) ?? make("li", { class: "message", tabindex: -1 });
      draw(element, message, { mine: message.from === me, joined, mark });
      shown.set(nameOf(message), element);
      wanted.push(element);
      before = message;
      numbered = message.seq ?? numbered;
    }
    this.shown = shown;
    return wanted;
  }
}

const nameOf = ({ from, key }) => `${from} ${key}`;

const note = (text, kind = "gap") => make("li", { class: kind }, make("span", { text }));

// What is drawn of a message is made anew when it has changed.
function draw(element, message, { mine, joined, mark }) {
  const name = mine ? fate(message, mark) : "";
  const drawn = JSON.stringify([message, name, joined]);
  if (element.drawn === drawn) return;
  element.drawn = drawn;
  for (const [kind, is] of Object.entries({ own: mine, joined, refused: message.state === "refused", erased: message.erased })) {
    element.classList.toggle(kind, Boolean(is));
  }
  const bar = element.querySelector(".actions");
  const edited = message.version && !message.erased ? "edited " : "";
  const time = make("time", { datetime: new Date(message.time).toISOString(), text: edited + clock(message.time) });
  const tick = mine ? tickOf(name, message.reason) : make("span", { class: "tick" });
  const author = make("span", { class: "hidden", text: mine ? "You" : message.from });
  const body = message.erased ? [make("p", { class: "body", text: "This message was deleted." })] : bodyOf(message.body);
  if (message.problem) body.push(make("small", { class: "problem", text: message.problem }));
  element.replaceChildren(author, ...body, make("footer", {}, time, tick), ...(bar ? [bar] : []));
}

function bodyOf(body) {
  const { author, quoted, text } = reply(body);
  const own = make("p", { class: "body", dir: "auto" }, ...parts(text).map(partOf));
  if (author === null) return [own];
  return [make("blockquote", {}, make("cite", { text: author }), make("p", { dir: "auto", text: quoted })), own];
}

const LINK = { target: "_blank", rel: "noopener noreferrer", referrerpolicy: "no-referrer" };

const partOf = ({ text, href }) => (href ? make("a", { href, ...LINK, text }) : text);
