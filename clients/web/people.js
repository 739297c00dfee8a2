// Whom this user has blocked, and what this device still has to say of it; people.py of the Python
// SDK. Pure; times are milliseconds of any one clock. A decision is said again until the server has
// answered it. Of two about one user the later counts.

import { askAgain, LOST } from "./backoff.js";

const AT_ONCE = 2; // decisions in one go: a session has 8 questions for everything

export class People {
  // jitter() from [0, 1); nextId() numbers questions
  constructor(jitter, nextId) {
    // wanted: user → whether blocked, as was decided and has no answer; asked: the last questions →
    // about whom, "" for the list; pushed: of whom something came while the list was asked for
    Object.assign(this, {
      jitter, nextId, blocked: new Set(), known: false, followed: false, listDue: false, wanted: new Map(),
      asked: new Map(), pushed: new Set(), askAt: null, failures: 0,
    });
  }

  // Ask for the list, now and in each session.
  follow(now) {
    if (!this.followed) Object.assign(this, { followed: true, listDue: true, askAt: now });
  }

  // Block a user, or do so no more.
  block(user, blocked, now) {
    this.wanted.delete(user);
    this.wanted.set(user, blocked);
    this.askAt = now;
  }

  // A new session, or something may have passed this device by.
  begin(now) {
    this.listDue = this.followed;
    this.asked.clear();
    this.#goOn(now);
  }

  // What to ask now.
  questions(now) {
    if (this.askAt === null || this.askAt > now) return [];
    this.askAt = now + LOST;
    this.asked.clear();
    this.pushed.clear();
    const wanted = [...this.wanted].slice(0, AT_ONCE);
    return [
      ...(this.listDue ? [{ t: "get_people", id: this.#ask("") }] : []),
      ...wanted.map(([user, blocked]) => ({ t: blocked ? "block" : "unblock", id: this.#ask(user), user })),
    ];
  }

  wakeAt() {
    return this.askAt;
  }

  // What this user has decided has come: pushed, or as an answer.
  person({ id, user, blocked = false }, now) {
    this.pushed.add(user);
    const news = this.#news(user, blocked);
    if (id === undefined || this.asked.get(id) !== user) return news;
    this.asked.delete(id);
    this.wanted.delete(user);
    this.failures = 0;
    this.#goOn(now);
    return [...news, { event: "decided", user, blocked }];
  }

  // The list; what came meanwhile is newer.
  answer({ id, people }, now) {
    if (this.asked.get(id) !== "") return [];
    this.asked.delete(id);
    const blocked = new Set(people.filter((one) => one.blocked).map(({ user }) => user));
    const changed = [...new Set([...this.blocked, ...blocked])].filter((user) => !this.pushed.has(user)).sort();
    Object.assign(this, { known: true, listDue: false, failures: 0 });
    this.#goOn(now);
    return changed.flatMap((user) => this.#news(user, blocked.has(user)));
  }

  // null if the error answers none of these questions; it is asked again, if that may help.
  error(frame, now) {
    const user = this.asked.get(frame.id);
    if (user === undefined) return null;
    this.asked.delete(frame.id);
    if (frame.retry) {
      this.askAt = now + askAgain(this.failures++, this.jitter());
      return [];
    }
    if (user === "") this.listDue = false;
    else this.wanted.delete(user);
    this.#goOn(now);
    return user === "" ? [] : [{ event: "decided", user, code: frame.code }];
  }

  #ask(user) {
    const id = this.nextId();
    this.asked.set(id, user);
    return id;
  }

  // Ask what is left once nothing is under way.
  #goOn(now) {
    if (!this.listDue && !this.wanted.size) this.askAt = null;
    else if (!this.asked.size) this.askAt = now;
  }

  #news(user, blocked) {
    if (blocked === this.blocked.has(user)) return [];
    if (blocked) this.blocked.add(user);
    else this.blocked.delete(user);
    return [{ event: "person", user, blocked }];
  }
}
