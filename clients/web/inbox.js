// What a device knows of its conversations, in one log (one numbering of messages); inbox.py of the
// Python SDK. Pure; times are milliseconds of any one clock.

import { CatchUp } from "./catchup.js";
import { Marks } from "./marks.js";
import { Timelines } from "./timelines.js";

const UNSHOWN = 1000; // messages that nobody has seen yet: with so many, no pages are asked for, and pushes are forgotten

export class Inbox {
  // stored: { log, begun, shown, received, read } of an earlier life
  constructor(user, stored, { jitter, nextId, recent = 0 }) {
    this.log = stored.log ?? "";
    this.timelines = new Timelines(stored.shown, stored.begun, recent);
    this.catchUp = new CatchUp(this.timelines, jitter, nextId);
    this.marks = new Marks(jitter, nextId, stored.received, stored.read);
    this.marks.user = user;
    this.unshown = new Map();
    // conversation → user → the last marks event, where the mark goes beyond the last message known
    // here
    this.cut = new Map();
  }

  // A new session.
  begin(now) {
    this.catchUp.begin();
    this.marks.begin([...this.timelines.cursors().keys()], now);
  }

  // Pushes may have been missed.
  resync(now) {
    this.catchUp.sync();
    this.marks.begin([...this.timelines.cursors().keys()], now);
  }

  // A message was pushed, or is this device's own and has its number now.
  message(frame) {
    return this.#show(frame.conversation, this.timelines.accept(frame, this.room > 0));
  }

  page(frame, now) {
    return this.#show(frame.conversation, this.catchUp.page(frame, now));
  }

  // There is a message that nobody pushes to this device.
  goesOn(conversation, seq) {
    this.timelines.heads({ [conversation]: seq });
    return this.#marksOf(conversation);
  }

  heads(frame, now) {
    this.catchUp.heads(frame, now);
    this.marks.found(Object.keys(frame.heads), now);
    return Object.keys(frame.heads).flatMap((conversation) => this.#marksOf(conversation));
  }

  // What an error says about a question of catching up; null if it answers none.
  gone(frame, now) {
    const shown = this.catchUp.error(frame, now);
    return shown && this.#show("", shown);
  }

  // Marks that are news.
  marksChanged(news) {
    return news.map(({ conversation, user }) => {
      const known = this.marks.mark(conversation, user);
      const event = this.mark(conversation, user);
      if (event.received !== known.received || event.read !== known.read) {
        if (!this.cut.has(conversation)) this.cut.set(conversation, new Map());
        this.cut.get(conversation).set(user, event);
      }
      return event;
    });
  }

  // A message event of this inbox has been seen, and all before it.
  shown(message) {
    const { conversation, seq, from } = message;
    const place = `${conversation} ${seq}`;
    if (this.unshown.get(place) !== message) return; // of another log than this
    this.unshown.delete(place);
    if (from !== this.marks.user) this.marks.received(conversation, seq);
  }

  // How many messages may still be given out.
  get room() {
    return UNSHOWN - this.unshown.size;
  }

  // What a user has received and read: a mark is a claim of devices, so it counts as far as there
  // are messages.
  mark(conversation, user) {
    const mark = this.marks.mark(conversation, user);
    const head = this.timelines.head(conversation);
    return { event: "marks", ...mark, received: Math.min(mark.received, head), read: Math.min(mark.read, head) };
  }

  unread(conversation) {
    return Math.max(0, this.timelines.head(conversation) - this.marks.readHere(conversation));
  }

  #show(conversation, shown) {
    const news = shown.map(({ message, missing }) => {
      this.marks.shown(message);
      const { seq, from, key, time, body, erased = false, changes = 0, version = 0 } = message;
      const event = { event: "message", conversation: message.conversation, seq, from, key, time, body, missing, erased, changes, version };
      this.unshown.set(`${event.conversation} ${seq}`, event);
      return event;
    });
    return [...news, ...this.#marksOf(conversation)];
  }

  // The marks of a conversation that say more now, because its messages have come.
  #marksOf(conversation) {
    const raised = [];
    for (const [user, last] of this.cut.get(conversation) ?? []) {
      const event = this.mark(conversation, user);
      if (event.received === last.received && event.read === last.read) continue;
      this.cut.get(conversation).delete(user);
      raised.push({ conversation, user });
    }
    if (!this.cut.get(conversation)?.size) this.cut.delete(conversation);
    return this.marksChanged(raised);
  }
}
