// What was missed: asks `sync` after each welcome and `resync`, and `range` for what is new, a few questions at a time.

const ASKED = 8; // questions that the server answers at once
const STRETCH = 1000; // cursors in one question
const SOON = 50; // ms until asking again for what the log does not have yet
const FIRST = 800;
const LAST = 20000;
const GONE = 122;

export class CatchUp {
  // send(frames) hands frames to the connection
  constructor(store, send) {
    Object.assign(this, { store, send, asked: new Map(), toSync: [], notNow: new Set(), id: 1, failures: 0 });
  }

  // A new session.
  begin() {
    this.asked.clear();
    this.notNow.clear();
    this.sync();
  }

  sync() {
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
      const frame = { ...question, id: ++this.id };
      this.asked.set(frame.id, frame);
      frames.push(frame);
    };
    while (this.toSync.length && this.asked.size < ASKED) put(this.toSync.pop());
    const underWay = new Set([...this.asked.values()].map(({ conversation }) => conversation));
    for (const { id, cursor } of this.store.behind()) {
      if (this.asked.size >= ASKED) break;
      if (!underWay.has(id) && !this.notNow.has(id)) put({ t: "range", conversation: id, after: cursor });
    }
    if (frames.length) this.send(frames);
  }

  heads(frame) {
    const asked = this.#answered(frame);
    if (!asked) return;
    this.store.heads(frame.heads);
    if (frame.next) {
      const cursors = Object.fromEntries(Object.entries(asked.cursors).filter(([id]) => id > frame.next));
      this.toSync.push({ ...asked, after: frame.next, cursors });
    }
    if (!this.toSync.length && ![...this.asked.values()].some(({ t }) => t === "sync")) this.store.begun = true;
  }

  page(frame) {
    if (!this.#answered(frame)) return;
    for (const message of frame.messages) this.store.take(message);
    this.store.heads({ [frame.conversation]: frame.known });
    if (!frame.messages.length) this.#later(frame.conversation, SOON);
  }

  // Whether the error answers a question of ours.
  error(frame) {
    const asked = this.asked.get(frame.id);
    if (!asked) return false;
    this.asked.delete(frame.id);
    const wait = Math.random() * Math.min(LAST, FIRST * 2 ** Math.min(this.failures++, 10));
    if (asked.t === "sync") {
      if (frame.retry) this.toSync.push(asked);
      setTimeout(() => this.ask(), wait);
    } else if (frame.code === GONE) {
      this.store.gone(asked.conversation);
    } else {
      this.#later(asked.conversation, wait);
    }
    return true;
  }

  #answered({ id }) {
    const asked = this.asked.get(id);
    this.asked.delete(id);
    if (asked) this.failures = 0;
    return asked;
  }

  #later(conversation, wait) {
    this.notNow.add(conversation);
    setTimeout(() => {
      this.notNow.delete(conversation);
      this.ask();
    }, wait);
  }
}
