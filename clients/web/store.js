// What the page shows: conversations by contact, each with its messages in order; those that wait
// to be sent are last. It is made of the device's events. Pure but for the time of a queued
// message.

const KEPT = 1000; // messages of a conversation; older ones leave the page, if nobody scrolled back to them
const SCROLLED = 50_000; // as many as that may be scrolled back to
const LATEST = 200; // messages, the last ones, that are shown of a conversation at first
const WINDOW = 300; // messages that are shown when the person has scrolled back

const NEVER = { mark: { received: 0, read: 0 }, unread: 0 }; // how users stand who never met

export class Store {
  constructor(me) {
    this.me = me;
    this.conversations = new Map();
    this.dirty = new Set(); // contacts whose conversation has changed since somebody asked
  }

  // Conversations that `copy` made in an earlier life.
  bringBack(copies) {
    for (const { contact, messages, preview, changed, whole, mark, unread } of copies) {
      Object.assign(this.open(contact), { messages, preview, changed, whole, old: true, kept: { mark, unread } });
    }
  }

  // What is worth keeping of a conversation: its last messages that have a number.
  copy(contact, count) {
    const { messages, preview, changed, whole } = this.open(contact);
    const numbered = messages.filter(({ seq }) => seq !== null);
    return { contact, messages: numbered.slice(-count), preview, changed, whole: whole && numbered.length <= count };
  }

  open(contact) {
    if (!this.conversations.has(contact)) {
      const id = contact < this.me ? `${contact}:${this.me}` : `${this.me}:${contact}`;
      this.conversations.set(contact, { contact, id, messages: [], opened: 0, changed: 0, preview: null, whole: false, old: false, kept: NEVER, room: KEPT });
    }
    return this.conversations.get(contact);
  }

  // A person has opened the conversation: one without a message stands among the others by that.
  look(contact, time) {
    const conversation = this.open(contact);
    conversation.opened ||= time;
    return conversation;
  }

  // The last message of a conversation of which nothing may be shown yet, as the server gives it.
  foretell(message) {
    const conversation = this.open(this.contactOf(message.conversation));
    conversation.preview = { ...message, state: "sent" };
    this.dirty.add(conversation.contact);
    conversation.changed = Math.max(conversation.changed, message.time);
  }

  // The last message that is known, null if none is.
  latest(contact) {
    const { messages, preview } = this.open(contact);
    return messages.findLast(({ changes }) => !changes) ?? preview;
  }

  // A part of the messages: the last ones, or those from the number `from` on; without it all.
  // { messages, earlier: whether there are some before, later: how many come after }
  window(contact, from) {
    const { messages } = this.open(contact);
    if (from === undefined) return { messages, earlier: false, later: 0 };
    const found = from === null ? -1 : messages.findIndex(({ seq }) => seq !== null && seq >= from);
    let start = found < 0 ? Math.max(0, messages.length - LATEST) : found;
    while (found > 0 && messages[start - 1]?.seq === null) start--; // a refused one stands before it
    const part = messages.slice(start, start + WINDOW);
    return { messages: part, earlier: start > 0, later: messages.length - start - part.length };
  }

  // The number of the newest message below `before` (null: of all) with this text, null if there is
  // none among those that are here.
  find(contact, text, before) {
    const wanted = text.toLocaleLowerCase();
    const fits = ({ seq, body, changes }) => seq !== null && !changes && (before === null || seq < before) && body.toLocaleLowerCase().includes(wanted);
    return this.open(contact).messages.findLast(fits)?.seq ?? null;
  }

  contactOf(conversation) {
    return conversation.split(":").find((user) => user !== this.me);
  }

  queue(to, key, body) {
    const conversation = this.open(to);
    const time = Date.now();
    conversation.messages.push({ key, body, from: this.me, state: "queued", seq: null, time, missing: 0 });
    conversation.changed = time;
  }

  // Whether a message of this user with the key is shown, numbered or not.
  has(key) {
    return this.#find(key) !== null;
  }

  // A message event of the device, or a send that has its number: { conversation, seq, key, time,
  // from, body }.
  place(event) {
    if (event.changes) this.#change(event);
    const conversation = this.open(this.contactOf(event.conversation));
    this.dirty.add(conversation.contact);
    if (conversation.old) this.#joinOn(conversation, event.seq);
    const { messages } = conversation;
    const known = messages.find(({ seq }) => seq === event.seq);
    const queued = messages.findIndex((message) => message.seq === null && message.from === event.from && message.key === event.key);
    const [mine] = queued < 0 ? [known] : messages.splice(queued, 1);
    const message = { missing: 0, ...mine, ...event, body: event.body ?? mine?.body ?? "", state: "sent" };
    if (known) {
      Object.assign(known, message);
      return;
    }
    const after = messages.findIndex(({ seq, state }) => (seq === null ? state === "queued" : seq > event.seq));
    messages.splice(after < 0 ? messages.length : after, 0, message);
    conversation.changed = Math.max(conversation.changed, event.time);
    if (messages.length > conversation.room && messages[0].state !== "queued") {
      messages.shift();
      conversation.whole = false;
    }
  }

  // A send has its number.
  sent(event) {
    if (this.has(event.key)) this.place({ ...event, from: this.me });
  }

  // A send will not be: state "refused" or "unknown".
  failed(key, state, reason = "") {
    const message = this.#find(key);
    if (message) Object.assign(message, { state, reason });
  }

  // The lowest number that is shown, null if none is.
  oldest(contact) {
    return this.open(contact).messages.find(({ seq }) => seq !== null)?.seq ?? null;
  }

  // The highest number that is shown, 0 if none is.
  newest(contact) {
    return this.open(contact).messages.findLast(({ seq }) => seq !== null)?.seq ?? 0;
  }

  // What was said before the oldest that is shown; `first`: there is nothing before it.
  older(contact, frames, first) {
    const conversation = this.open(contact);
    this.dirty.add(contact);
    const oldest = this.oldest(contact) ?? Infinity;
    const earlier = frames.filter(({ seq }) => seq < oldest).map((frame) => ({ missing: 0, ...frame, state: "sent" }));
    conversation.messages.unshift(...earlier);
    conversation.room = Math.max(KEPT, conversation.messages.length);
    conversation.whole = first;
  }

  // Whether there may be messages of before those that are here.
  goesBack(contact) {
    return !this.open(contact).whole && !this.deep(contact) && this.oldest(contact) !== null;
  }

  // Whether a person has scrolled back as far as this page goes.
  deep(contact) {
    return this.open(contact).messages.length >= SCROLLED;
  }

  // Another numbering of messages: what was numbered is no more.
  forget() {
    for (const conversation of this.conversations.values()) {
      this.dirty.add(conversation.contact);
      const messages = conversation.messages.filter(({ seq }) => seq === null);
      Object.assign(conversation, { messages, preview: null, whole: false, old: false, kept: NEVER });
    }
  }

  // Conversations, latest first.
  list() {
    const place = ({ changed, opened }) => changed || opened;
    return [...this.conversations.values()].sort((a, b) => place(b) - place(a));
  }

  // The first message of this life: if it does not follow those of an earlier one, there is a hole
  // between, and they go. They come again when the person scrolls back.
  #joinOn(conversation, seq) {
    conversation.old = false;
    if (seq <= this.newest(conversation.contact) + 1) return;
    conversation.messages = conversation.messages.filter((message) => message.seq === null);
    conversation.whole = false;
  }

  // A message has another text, or none. Of two texts the later counts, and a deletion is final.
  #change({ conversation, changes, version, body, erased }) {
    const { messages } = this.open(this.contactOf(conversation));
    const message = messages.find(({ seq }) => seq === changes);
    if (!message || message.erased || (message.version ?? 0) >= version) return;
    Object.assign(message, { body, erased, version, problem: "" });
  }

  // A change will not be.
  unchanged(contact, seq, reason) {
    this.dirty.add(contact);
    const message = this.open(contact).messages.find((candidate) => candidate.seq === seq);
    if (message) message.problem = `Not changed: ${reason}`;
  }

  #find(key) {
    for (const { messages } of this.conversations.values()) {
      const message = messages.find((candidate) => candidate.key === key && candidate.from === this.me);
      if (message) return message;
    }
    return null;
  }
}
