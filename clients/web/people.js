// What this user has decided about others, and what this device still has to say of it; people.py of
// the Python SDK. Pure; times are milliseconds of any one clock. A decision is said again until the
// server has answered it. Of two of one kind about one user the later counts.

import { askAgain, LOST } from "./backoff.js";

const AT_ONCE = 2; // decisions in one go: a session has 8 questions for everything
const FRAMES = {
  blocked: ["unblock", "block"], contact: ["remove_contact", "add_contact"], declined: [null, "decline"],
};

export class People {
  // jitter() from [0, 1); nextId() numbers questions
  constructor(jitter, nextId) {
    // people: user → { blocked, contact, request }, where one is true; wanted: kind and user → what was
    // decided and has no answer; asked: the last questions → the key of what they say, null for the
    // list; pushed: of whom something came while the list was asked for, "" for privacy
    this.jitter = jitter;
    this.nextId = nextId;
    this.people = new Map();
    this.privacy = { presence: "everyone", reads: true };
    this.known = false;
    this.followed = false;
    this.listDue = false;
    this.wanted = new Map();
    this.asked = new Map();
    this.pushed = new Set();
    this.askAt = null;
    this.failures = 0;
  }

  // Ask for the list, now and in each session.
  follow(now) {
    if (!this.followed) Object.assign(this, { followed: true, listDue: true, askAt: now });
  }

  // Block a user (kind "blocked"), or have them as a contact ("contact"); or do so no more. Or decline
  // their request ("declined").
  decide(kind, user, is, now) {
    this.#want(kind, user, { t: FRAMES[kind][Number(is)], user }, now);
  }

  // What is shown to others.
  setPrivacy(presence, reads, now) {
    const said = { ...(presence !== "everyone" && { presence }), ...(!reads && { reads }) };
    this.#want("privacy", "", { t: "set_privacy", ...said }, now);
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
      ...(this.listDue ? [{ t: "get_people", id: this.#ask(null) }] : []),
      ...wanted.map(([key, { frame }]) => ({ ...frame, id: this.#ask(key) })),
    ];
  }

  wakeAt() {
    return this.askAt;
  }

  // What this user has decided has come: pushed, or as an answer.
  decided(frame, now) {
    const user = frame.user ?? "";
    this.pushed.add(user);
    const news = this.#news(frame);
    const key = this.asked.get(frame.id);
    const wanted = this.wanted.get(key);
    if (!wanted || wanted.user !== user) return news;
    this.asked.delete(frame.id);
    this.wanted.delete(key);
    this.failures = 0;
    this.#goOn(now);
    return [...news, { event: "decided", kind: wanted.kind, user }];
  }

  // The list; what came meanwhile is newer.
  answer({ id, people, privacy = {} }, now) {
    if (this.asked.get(id) !== null) return [];
    this.asked.delete(id);
    this.known = true;
    this.listDue = false;
    this.failures = 0;
    this.#goOn(now);
    const said = new Map(people.map((one) => [one.user, one]));
    const users = [...new Set([...this.people.keys(), ...said.keys()])].filter((user) => !this.pushed.has(user));
    const news = users.sort().flatMap((user) => this.#news(said.get(user) ?? { user }));
    return this.pushed.has("") ? news : [...news, ...this.#news(privacy)];
  }

  // null if the error answers none of these questions; it is asked again, if that may help.
  error(frame, now) {
    if (!this.asked.has(frame.id)) return null;
    const key = this.asked.get(frame.id);
    this.asked.delete(frame.id);
    if (frame.retry) {
      this.askAt = now + askAgain(this.failures++, this.jitter());
      return [];
    }
    const wanted = this.wanted.get(key);
    if (wanted) this.wanted.delete(key);
    else this.listDue = false;
    this.#goOn(now);
    return wanted ? [{ event: "decided", kind: wanted.kind, user: wanted.user, code: frame.code }] : [];
  }

  #want(kind, user, frame, now) {
    const key = `${kind} ${user}`;
    this.wanted.delete(key);
    this.wanted.set(key, { kind, user, frame });
    this.askAt = now;
  }

  #ask(key) {
    const id = this.nextId();
    this.asked.set(id, key);
    return id;
  }

  // Ask what is left once nothing is under way.
  #goOn(now) {
    if (!this.listDue && !this.wanted.size) this.askAt = null;
    else if (!this.asked.size) this.askAt = now;
  }

  /**
   * A `person` or, without a user, a `privacy`.
   * @param {Record<string, any>} said
   * @returns {Record<string, any>[]}
   */
  #news({ user, blocked = false, contact = false, request = false, presence = "everyone", reads = true }) {
    if (user === undefined) {
      const before = this.privacy;
      this.privacy = { presence, reads };
      const same = before.presence === presence && before.reads === reads;
      return same ? [] : [{ event: "privacy", presence, reads }];
    }
    const before = this.people.get(user) ?? { blocked: false, contact: false, request: false };
    if (blocked || contact || request) this.people.set(user, { blocked, contact, request });
    else this.people.delete(user);
    const same = before.blocked === blocked && before.contact === contact && before.request === request;
    return same ? [] : [{ event: "person", user, blocked, contact, request }];
  }
}
