// Whose presence a device watches, and when it asks for it; watch_list.py of the Python SDK. Pure;
// times are milliseconds of any one clock.

import { askAgain, LOST } from "./backoff.js";

const WATCHED = 200;

export class WatchList {
  // jitter() from [0, 1); nextId() numbers questions
  constructor(jitter, nextId) {
    // presence: user → the last that the server said; asked: id of the last question of this
    // session
    this.jitter = jitter;
    this.nextId = nextId;
    this.presence = new Map();
    this.users = [];
    this.asked = 0;
    this.askAt = null;
    this.failures = 0;
  }

  // Watch these users, the first of them if they are many, and no others.
  set(users, now) {
    this.users = [...new Set(users)].slice(0, WATCHED);
    for (const user of this.presence.keys()) if (!this.users.includes(user)) this.presence.delete(user);
    this.asked = 0; // an answer that is under way is about other users
    this.askAt = now;
  }

  // A new session, or what was watched may have been forgotten.
  begin(now) {
    this.asked = 0;
    this.askAt = this.users.length ? now : null;
  }

  // What to ask now, null if nothing.
  question(now) {
    if (this.askAt === null || this.askAt > now) return null;
    this.askAt = now + LOST;
    this.asked = this.nextId();
    return { t: "watch", id: this.asked, users: this.users };
  }

  wakeAt() {
    return this.askAt;
  }

  // The answer: what is news.
  answer(frame, now) {
    if (frame.id !== this.asked) return [];
    if (frame.pending) this.#later(now);
    else Object.assign(this, { failures: 0, askAt: null });
    return frame.users.filter((presence) => this.accept(presence));
  }

  // Whether the error answers our question; it is asked again, if that may help.
  error(frame, now) {
    if (!this.asked || frame.id !== this.asked) return false;
    if (frame.retry) this.#later(now);
    else this.askAt = null;
    return true;
  }

  // A presence has come, pushed or in an answer; whether it is news.
  accept({ user, online, last_seen }) {
    const known = this.presence.get(user);
    if (!this.users.includes(user) || (known?.online === online && known.last_seen === last_seen)) return false;
    this.presence.set(user, { user, online, last_seen });
    return true;
  }

  #later(now) {
    this.askAt = now + askAgain(this.failures++, this.jitter());
  }
}
