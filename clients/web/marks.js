// What was received and read: what this page has to say of it, what it asks, and what it knows. Receipts are cumulative; what was
// said in an earlier session, or was not taken, is said again unless the server's marks show it.

import { backoff } from "./backoff.js";

const STRETCH = 500; // conversations in one question
const AGAIN = 1000; // ms until what could not be answered is asked again
const FIRST = 800; // ms until the server is asked what it knows, after it has not taken a receipt

export class Marks {
  // send(frames) hands frames to the connection; nextId() numbers questions
  constructor(me, send, nextId) {
    Object.assign(this, { me, send, nextId, refusals: 0, doubt: null });
    this.forget();
  }

  // Another numbering of messages: what was said of the old one holds no more.
  forget() {
    Object.assign(this, { known: new Map(), received: new Map(), read: new Map() });
    Object.assign(this, { unsaid: new Set(), toAsk: [], asked: new Map(), askedAfter: new Set() });
  }

  // A new session, or pushes may have been missed.
  begin(conversations) {
    this.asked.clear();
    this.toAsk = [];
    this.askedAfter.clear();
    clearTimeout(this.doubt);
    this.doubt = null;
    this.found(conversations);
  }

  // There are these, too: what was said of them while this device was away is to be asked.
  found(conversations) {
    const fresh = conversations.filter((conversation) => !this.askedAfter.has(conversation));
    fresh.forEach((conversation) => this.askedAfter.add(conversation));
    this.#plan(fresh);
  }

  ask() {
    if (this.asked.size || !this.toAsk.length) return;
    const id = this.nextId();
    this.asked.set(id, this.toAsk.shift());
    this.send([{ t: "get_marks", id, conversations: this.asked.get(id) }]);
  }

  // All of a conversation up to `seq` is shown; or, if `read`, a person has seen it. Whether that is news.
  seen(conversation, seq, read = false) {
    const claims = read ? this.read : this.received;
    if (seq <= (claims.get(conversation) ?? 0)) return false;
    claims.set(conversation, seq);
    this.unsaid.add(conversation);
    return true;
  }

  // Says what is unsaid.
  say() {
    const frames = [];
    for (const conversation of this.unsaid) {
      const read = this.read.get(conversation) ?? 0;
      const received = this.received.get(conversation) ?? 0;
      if (read) frames.push({ t: "read", conversation, seq: read });
      if (received > read) frames.push({ t: "received", conversation, seq: received });
    }
    this.unsaid.clear();
    if (frames.length) this.send(frames);
  }

  // Whether the frame answers a question of ours.
  answer(frame) {
    const asked = this.#answered(frame);
    if (!asked) return false;
    if (frame.pending) this.#later(asked);
    frame.marks.forEach((mark) => this.take(mark));
    const notKnown = this.#notKnown(asked);
    notKnown.forEach((conversation) => this.unsaid.add(conversation));
    if (!notKnown.length) this.refusals = 0;
    this.ask();
    return true;
  }

  // Whether the error is about marks. One that names nothing says that a receipt was not taken; which one is found by asking
  // what the server knows, in a while.
  error(frame) {
    if (frame.retry && frame.id === undefined && frame.to === undefined) {
      this.doubt ??= setTimeout(() => {
        this.doubt = null;
        this.#plan(this.#notKnown([...new Set([...this.received.keys(), ...this.read.keys()])]));
      }, backoff(FIRST, this.refusals++));
      return true;
    }
    const asked = this.#answered(frame);
    if (asked && frame.retry) this.#later(asked);
    return Boolean(asked);
  }

  take({ conversation, user, received, read }) {
    const known = this.of(conversation, user);
    const raised = { received: Math.max(known.received, received), read: Math.max(known.read, read) };
    this.known.set(`${conversation} ${user}`, raised);
  }

  of(conversation, user) {
    return this.known.get(`${conversation} ${user}`) ?? { received: 0, read: 0 };
  }

  // What this user has read, here or elsewhere.
  readUpTo(conversation) {
    return Math.max(this.read.get(conversation) ?? 0, this.of(conversation, this.me).read);
  }

  #plan(conversations) {
    for (let start = 0; start < conversations.length; start += STRETCH) {
      this.toAsk.push(conversations.slice(start, start + STRETCH));
    }
    this.ask();
  }

  // Those of which this page has more to say than it has heard back.
  #notKnown(conversations) {
    return conversations.filter((conversation) => {
      const mine = this.of(conversation, this.me);
      return (this.received.get(conversation) ?? 0) > mine.received || (this.read.get(conversation) ?? 0) > mine.read;
    });
  }

  #answered({ id }) {
    const asked = this.asked.get(id);
    this.asked.delete(id);
    return asked;
  }

  #later(conversations) {
    setTimeout(() => {
      this.toAsk.push(conversations);
      this.ask();
    }, AGAIN);
  }
}
