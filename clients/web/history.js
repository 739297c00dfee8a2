// Questions after history that somebody waits for; history.py and look_ups.py of the Python SDK.
// Pure; times are milliseconds of any one clock.

import { askAgain, earliest, LOST } from "./backoff.js";

export const AT_ONCE = 2; // questions under way at once; the others of a session are for catching up
const PAGE = 100;
const PAGES = 100; // how far back a send is looked for

// A question is asked again in each session, after an error that may pass, and when no answer
// comes.
export class History {
  // jitter() from [0, 1); nextId() numbers questions
  constructor(jitter, nextId) {
    // lost: id → when a question under way counts as lost; notBefore: id → when it may be asked
    // again
    this.jitter = jitter;
    this.nextId = nextId;
    this.open = new Map();
    this.lost = new Map();
    this.notBefore = new Map();
    this.full = false;
  }

  // Queues a question { conversation, before, after, limit }; its id.
  ask(question) {
    const id = this.nextId();
    this.open.set(id, { t: "history", id, ...question });
    return id;
  }

  // Nobody waits for the answer any more.
  cancel(id) {
    for (const questions of [this.open, this.lost, this.notBefore]) questions.delete(id);
  }

  // A new session: nothing is under way.
  begin() {
    this.lost.clear();
    this.notBefore.clear();
  }

  get underWay() {
    return this.lost.size;
  }

  // What to ask now. `slots`: how many questions may be under way.
  questions(now, slots = AT_ONCE) {
    for (const times of [this.lost, this.notBefore]) {
      for (const [id, at] of times) if (at <= now) times.delete(id);
    }
    const frames = [...this.open.values()]
      .filter(({ id }) => !this.lost.has(id) && !this.notBefore.has(id))
      .slice(0, Math.max(0, slots - this.lost.size));
    for (const { id } of frames) this.lost.set(id, now + LOST);
    this.full = this.lost.size >= slots;
    return frames;
  }

  // When to look for questions again, if no answer comes before.
  wakeAt() {
    return earliest([...(this.full ? [] : this.notBefore.values()), ...this.lost.values()]);
  }

  // The end of a question of ours; null if the page answers none.
  answer({ id, messages, known, first = false }) {
    if (!this.open.has(id)) return null;
    this.cancel(id);
    return { event: "history", id, messages, known, first };
  }

  // The end of the question that the error answers, or whether it answers one.
  error({ id, retry, code }, now) {
    if (!this.open.has(id)) return false;
    if (retry) {
      this.lost.delete(id);
      this.notBefore.set(id, now + askAgain(0, this.jitter()));
      return true;
    }
    this.cancel(id);
    return { event: "history", id, code };
  }
}

// Sends that the server no longer knows: a user's own messages carry the keys of their sends.
export class LookUps {
  constructor(history) {
    this.history = history;
    this.open = new Map();
  }

  // Look for a send { event: "failed", key, … } that may have been taken.
  begin(send, conversation) {
    this.#ask(send, conversation, {}, PAGES);
  }

  // The send of `user` as its last page shows it, or whether the page was for one of these.
  answer({ id, messages, first }, user) {
    const asked = this.open.get(id);
    if (!asked) return false;
    this.open.delete(id);
    const { send, conversation, pages } = asked;
    if (!messages) return send;
    const found = messages.find(({ key, from }) => key === send.key && from === user);
    if (found) return { event: "sent", key: send.key, conversation, seq: found.seq, time: found.time };
    if (first || !messages.length || pages === 1) return send;
    this.#ask(send, conversation, { before: messages[0].seq }, pages - 1);
    return true;
  }

  #ask(send, conversation, range, pages) {
    this.open.set(this.history.ask({ conversation, ...range }), { send, conversation, pages });
  }
}
