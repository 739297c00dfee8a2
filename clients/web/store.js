// What the page shows: conversations by contact, each with its messages in order; those that wait
// to be sent are last. It is made of the device's events. Pure but for the time of a queued
// message.

const KEPT = 1000; // messages of a conversation; older ones leave the page, if nobody scrolled back to them
const SCROLLED = 50_000; // as many as that may be scrolled back to
const LATEST = 200; // messages, the last ones, that are shown of a conversation at first
const WINDOW = 300; // messages that are shown when the person has scrolled back

export class Store {
  constructor(me) {
    this.me = me;
    this.conversations = new Map();
  }

  open(contact) {
    if (!this.conversations.has(contact)) {
      const id = contact < this.me ? `${contact}:${this.me}` : `${this.me}:${contact}`;
      this.conversations.set(contact, { contact, id, messages: [], opened: 0, changed: 0, preview: null, whole: false, kept: KEPT });
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
    conversation.changed = Math.max(conversation.changed, message.time);
  }

  // The last message that is known, null if none is.
  latest(contact) {
    const { messages, preview } = this.open(contact);
    return messages.at(-1) ?? preview;
  }

  // A part of the messages: the last ones, or those from the number `from` on; without it all.
  // { messages, earlier: whether there are some before, later: how many come after }
  window(contact, from) {
    const { messages } = this.open(contact);
    if (from === undefined) return { messages, earlier: false, later: 0 };
    const found = from === null ? -1 : messages.findIndex(({ seq }) => seq !== null && seq >= from);
    const start = found < 0 ? Math.max(0, messages.length - LATEST) : found;
    const part = messages.slice(start, start + WINDOW);
    return { messages: part, earlier: start > 0, later: messages.length - start - part.length };
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
    const conversation = this.open(this.contactOf(event.conversation));
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
    if (messages.length > conversation.kept && messages[0].state !== "queued") {
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
    const oldest = this.oldest(contact) ?? Infinity;
    const earlier = frames.filter(({ seq }) => seq < oldest).map((frame) => ({ missing: 0, ...frame, state: "sent" }));
    conversation.messages.unshift(...earlier);
    conversation.kept = Math.max(KEPT, conversation.messages.length);
    conversation.whole = first;
  }

  // Whether a person has scrolled back as far as this page goes.
  deep(contact) {
    return this.open(contact).messages.length >= SCROLLED;
  }

  // Another numbering of messages: what was numbered is no more.
  forget() {
    for (const conversation of this.conversations.values()) {
      const messages = conversation.messages.filter(({ seq }) => seq === null);
      Object.assign(conversation, { messages, preview: null, whole: false });
    }
  }

  // Conversations, latest first.
  list() {
    const place = ({ changed, opened }) => changed || opened;
    return [...this.conversations.values()].sort((a, b) => place(b) - place(a));
  }

  #find(key) {
    for (const { messages } of this.conversations.values()) {
      const message = messages.find((candidate) => candidate.key === key && candidate.from === this.me);
      if (message) return message;
    }
    return null;
  }
}
