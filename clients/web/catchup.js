// What was missed: asks `sync` after each welcome and `resync`, and `history` for what is new, a few questions at a time.

import { backoff } from "./backoff.js";

const ASKED = 8; // questions that the server answers at once
const STRETCH = 1000; // cursors in one question
const SOON = 100; // ms, doubled each time, until asking again for what the log does not have yet
const FIRST = 800;
const GONE = 122;
const LOST = 20000; // ms without an answer until a question is asked again

export class CatchUp {
  // send(frames) hands frames to the connection; nextId() numbers questions
  constructor(store, send, nextId) {
    Object.assign(this, { store, send, nextId, asked: new Map(), toSync: [], notNow: new Set(), empty: new Map(), failures: 0 });
  }

  // A new session.
  begin() {
    this.asked.clear();
    this.notNow.clear();
    this.sync();
  }

  sync() {
    this.session = {};
    this.waiting = 0; // stretches to be asked after again
    const cursors = [...this.store.cursors()].sort(([a], [b]) => (a < b ? -1 : 1));
    this.toSync = [];
    for (let start = 0; start === 0 || start < cursors.length; start += STRETCH) {
      const stretch = cursors.slice(start, start + STRETCH);
      const after = start ? cursors[start - 1][0] : "";
      const until = start + STRETCH < cursors.length ? stretch.at(-1)[0] : "";
      this.toSync.push({ t: "sync", cursors: Object.fromEntries(stretch), after, until });
    }
    this.ask();
  }

  ask() {
    const frames = [];
    const put = (question) => {
      const frame = { ...question, id: this.nextId() };
      this.asked.set(frame.id, frame);
      frames.push(frame);
      setTimeout(() => this.#lost(frame), LOST);
    };
    while (this.toSync.length && this.asked.size < ASKED) put(this.toSync.pop());
    const underWay = new Set([...this.asked.values()].map(({ conversation }) => conversation));
    for (const { id, cursor } of this.store.behind()) {
      if (this.asked.size >= ASKED) break;
      if (!underWay.has(id) && !this.notNow.has(id)) put({ t: "history", conversation: id, after: cursor });
    }
    if (frames.length) this.send(frames);
  }

  heads(frame) {
    const asked = this.#answered(frame);
    if (!asked) return;
    this.store.heads(frame.heads);
    if (frame.pending) this.#syncLater({ ...asked, until: frame.next || asked.until });
    else this.failures = 0;
    if (frame.next) {
      const cursors = Object.fromEntries(Object.entries(asked.cursors).filter(([id]) => id > frame.next));
      this.toSync.push({ ...asked, after: frame.next, cursors });
    }
    if (!this.toSync.length && !this.waiting && ![...this.asked.values()].some(({ t }) => t === "sync")) this.store.begun = true;
  }

  page(frame) {
    if (!this.#answered(frame)) return;
    this.failures = 0;
    if (frame.first && frame.messages.length) this.store.passOver(frame.conversation, frame.messages[0].seq - 1);
    for (const message of frame.messages) this.store.take(message);
    this.store.heads({ [frame.conversation]: frame.known });
    const empty = frame.messages.length ? 0 : (this.empty.get(frame.conversation) ?? 0) + 1;
    if (empty) {
      this.empty.set(frame.conversation, empty);
      this.#later(frame.conversation, backoff(SOON, empty - 1));
    } else this.empty.delete(frame.conversation);
  }

  // Whether the error answers a question of ours.
  error(frame) {
    const asked = this.asked.get(frame.id);
    if (!asked) return false;
    this.asked.delete(frame.id);
    if (asked.t === "sync" && frame.retry) this.#syncLater(asked);
    else if (frame.code === GONE) this.store.gone(asked.conversation);
    else if (asked.t === "history") this.#later(asked.conversation, backoff(FIRST, this.failures++));
    return true;
  }

  #answered({ id }) {
    const asked = this.asked.get(id);
    this.asked.delete(id);
    return asked;
  }

  #lost(frame) {
    if (this.asked.get(frame.id) !== frame) return;
    this.asked.delete(frame.id);
    if (frame.t === "sync") this.toSync.push(frame);
    this.ask();
  }

  #syncLater(question) {
    this.waiting++;
    const session = this.session;
    setTimeout(() => {
      if (session !== this.session) return;
      this.waiting--;
      this.toSync.push(question);
      this.ask();
    }, backoff(FIRST, this.failures++));
  }

  #later(conversation, wait) {
    this.notNow.add(conversation);
    setTimeout(() => {
      this.notNow.delete(conversation);
      this.ask();
    }, wait);
  }
}
