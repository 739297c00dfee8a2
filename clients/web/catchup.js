// What a device asks the server for, and when; catching_up.py of the Python SDK. Pure; times are
// milliseconds of any one clock.
//
// `sync` after each welcome and `resync`, `history` for what is new. A device asks again, with
// backoff, when a question has no answer, when a part of a `sync` could not be answered, and when
// the log does not have a page yet or the server cannot read it now. It asks for no page that it
// has no room for.

import { askAgain, earliest, LOST } from "./backoff.js";
import { syncs } from "./timelines.js";

export const CATCHING_UP = 6; // questions under way; the server takes 8, the rest are for marks and presence
const PAGE = 100; // messages

export class CatchUp {
  // jitter() from [0, 1); nextId() numbers questions
  constructor(timelines, jitter, nextId) {
    this.timelines = timelines;
    this.jitter = jitter;
    this.nextId = nextId;
    this.asked = new Map();
    this.notBefore = new Map();
    this.empty = new Map();
    this.syncs = [];
    this.failures = 0;
    this.full = false;
  }

  // A new session: nothing is under way.
  begin() {
    this.asked.clear();
    this.notBefore.clear();
    this.sync();
  }

  // Ask after all conversations.
  sync() {
    this.syncs = syncs(this.timelines.cursors()).map((question) => ({ at: 0, question }));
  }

  get underWay() {
    return this.asked.size;
  }

  // What to ask now. `slots`: how many questions may be under way; `room`: how many messages the
  // device can take, those under way included.
  questions(now, slots = CATCHING_UP, room = Infinity) {
    for (const [id, { question, lostAt }] of this.asked) {
      if (lostAt > now) continue;
      this.asked.delete(id);
      if (question.t === "sync") this.syncs.push({ at: now, question });
    }
    const frames = [];
    const put = (question) => {
      const frame = { ...question, id: this.nextId() };
      this.asked.set(frame.id, { question: frame, lostAt: now + LOST });
      frames.push(frame);
    };
    for (const [conversation, at] of this.notBefore) if (at <= now) this.notBefore.delete(conversation);
    for (let due; this.asked.size < slots && (due = this.#nextSync(now)); ) put(due);
    const underWay = new Set([...this.asked.values()].map(({ question }) => question.conversation).filter(Boolean));
    room -= underWay.size * PAGE;
    for (const conversation of this.timelines.behind) {
      if (this.asked.size >= slots || room < PAGE) break;
      if (underWay.has(conversation) || this.notBefore.has(conversation)) continue;
      put({ t: "history", conversation, after: this.timelines.after(conversation) });
      room -= PAGE;
    }
    this.full = this.asked.size >= slots;
    return frames;
  }

  // A question is under way, or has to be asked, or the device is behind.
  get busy() {
    return Boolean(this.asked.size || this.syncs.length || this.timelines.behind.size);
  }

  // When to look for questions again, if no answer comes before.
  wakeAt() {
    const waiting = this.full ? [] : [...this.syncs.map(({ at }) => at), ...this.notBefore.values()];
    return earliest([...waiting, ...[...this.asked.values()].map(({ lostAt }) => lostAt)]);
  }

  // The answer to a sync.
  heads(frame, now) {
    const asked = this.#answered(frame.id);
    if (asked?.t !== "sync") return;
    this.timelines.heads(frame.heads);
    if (frame.next) {
      const cursors = Object.fromEntries(Object.entries(asked.cursors).filter(([name]) => name > frame.next));
      this.syncs.push({ at: now, question: { ...asked, after: frame.next, cursors } });
    }
    if (frame.pending) {
      const question = { ...asked };
      if (frame.next) question.until = frame.next;
      this.syncs.push({ at: now + this.#patience(), question });
    } else this.failures = 0;
    const more = [...this.asked.values()].some(({ question }) => question.t === "sync");
    if (!this.syncs.length && !more) this.timelines.begun = true;
  }

  // The answer to a question for a range. What can be shown now.
  page(frame, now) {
    if (!this.#answered(frame.id)) return [];
    const { conversation, messages } = frame;
    this.failures = 0;
    if (messages.length) this.empty.delete(conversation);
    else {
      const empty = this.empty.get(conversation) ?? 0;
      this.empty.set(conversation, empty + 1);
      this.notBefore.set(conversation, now + askAgain(empty, this.jitter(), 0));
    }
    const shown = this.timelines.page(messages, frame.first);
    this.timelines.heads({ [conversation]: frame.known });
    return shown;
  }

  // What can be shown now because of an error that answers a question; null if it answers none.
  error(frame, now) {
    const asked = this.#answered(frame.id);
    if (!asked) return null;
    if (asked.t === "history" && !frame.retry) return this.timelines.gone(asked.conversation);
    if (asked.t === "history") this.notBefore.set(asked.conversation, now + this.#patience());
    else if (frame.retry) this.syncs.push({ at: now + this.#patience(), question: asked });
    return [];
  }

  #patience() {
    return askAgain(this.failures++, this.jitter());
  }

  #nextSync(now) {
    const index = this.syncs.findIndex(({ at }) => at <= now);
    return index < 0 ? null : this.syncs.splice(index, 1)[0].question;
  }

  #answered(id) {
    const asked = this.asked.get(id);
    this.asked.delete(id);
    return asked?.question;
  }
}
