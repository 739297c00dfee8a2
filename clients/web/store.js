// What the page holds: conversations by contact, each shown 1, 2, 3 … from its floor on, as in the Python SDK. What comes
// early is held until what is before it has come. Pure but for the time of a queued message.

const KEPT = 1000; // messages of a conversation; older ones leave the page, if nobody scrolled back to them
const SCROLLED = 5000; // as many as that may be scrolled back to
const HELD = 200; // messages held back; what is beyond comes again in the pages that are asked for
const RECENT = 100; // messages of before this page that are shown when a conversation is opened

export class Store {
  constructor(me) {
    this.me = me;
    this.conversations = new Map();
    this.begun = false; // the first heads have all come
  }

  open(contact) {
    if (!this.conversations.has(contact)) {
      this.conversations.set(contact, {
        contact, id: contact < this.me ? `${contact}:${this.me}` : `${this.me}:${contact}`,
        cursor: null, floor: null, head: 0, held: new Map(), missing: 0, messages: [], changed: 0, whole: false, kept: KEPT,
      });
    }
    return this.conversations.get(contact);
  }

  // Bring back what was said last, if nothing of it has been shown yet.
  recall(contact) {
    const conversation = this.open(contact);
    if (conversation.cursor === null && conversation.floor) this.#begin(conversation, conversation.floor);
  }

  contactOf(conversation) {
    return conversation.split(":").find((user) => user !== this.me);
  }

  queue(contact, key, body) {
    const conversation = this.open(contact);
    const message = { key, body, from: this.me, state: "queued", seq: null, time: Date.now() };
    conversation.messages.push(message);
    conversation.changed = Date.now();
    return message;
  }

  // Whether a message with the key is shown, numbered or not.
  has(key) {
    return [...this.conversations.values()].some(({ messages }) => messages.some((message) => message.key === key));
  }

  mark(key, state, reason = "") {
    for (const { messages } of this.conversations.values()) {
      const message = messages.find((candidate) => candidate.key === key);
      if (message) Object.assign(message, { state, reason });
    }
  }

  // A numbered message, pushed, in a page, or one's own `sent`: { conversation, seq, from, key, time, body }.
  take(frame) {
    const conversation = this.open(this.contactOf(frame.conversation));
    if (conversation.cursor === null) this.#begin(conversation, frame.seq - 1);
    if (frame.seq <= conversation.cursor) {
      // known, save one's own whose first answer was lost
      if (this.#queued(conversation, frame) >= 0) this.#place(conversation, frame);
      return;
    }
    if (frame.seq === conversation.cursor + 1 || conversation.held.size < HELD) conversation.held.set(frame.seq, frame);
    conversation.head = Math.max(conversation.head, frame.seq);
    this.#goOn(conversation);
  }

  // The lowest number that is shown, null if none is.
  oldest(contact) {
    return this.open(contact).messages.find(({ seq }) => seq !== null)?.seq ?? null;
  }

  // The last number of a message that one of the two has written and that is shown, 0 if there is none.
  last(contact, from) {
    return this.open(contact).messages.findLast((message) => message.seq !== null && message.from === from)?.seq ?? 0;
  }

  // What was said before the oldest that is shown; `first`: there is nothing before it.
  older(contact, frames, first) {
    const conversation = this.open(contact);
    const oldest = this.oldest(contact) ?? Infinity;
    const earlier = frames.filter(({ seq }) => seq < oldest).map((frame) => ({ missing: 0, ...frame, state: "sent" }));
    conversation.messages.unshift(...earlier);
    conversation.kept = Math.max(KEPT, conversation.messages.length);
    conversation.whole = first || conversation.messages.length >= SCROLLED;
  }

  // The server's word on where conversations have got to.
  heads(heads) {
    for (const [id, head] of Object.entries(heads)) {
      const conversation = this.open(this.contactOf(id));
      if (conversation.cursor === null && !this.begun) {
        conversation.floor = head;
        continue;
      }
      if (conversation.cursor === null) this.#begin(conversation, conversation.floor ?? 0);
      conversation.head = Math.max(conversation.head, head);
    }
  }

  // What is after the cursor cannot be had here: show on with what there is.
  gone(id) {
    const conversation = this.open(this.contactOf(id));
    const cursor = Math.min(conversation.head + 1, ...conversation.held.keys()) - 1;
    this.passOver(id, cursor);
    this.#goOn(conversation);
  }

  // What is up to `cursor` cannot be had any more.
  passOver(id, cursor) {
    const conversation = this.open(this.contactOf(id));
    if (cursor <= conversation.cursor) return;
    conversation.missing += cursor - conversation.cursor;
    conversation.cursor = cursor;
    for (const seq of conversation.held.keys()) if (seq <= cursor) conversation.held.delete(seq);
  }

  // conversation → last number shown, or that counts as shown, of all that have one.
  cursors() {
    const known = [...this.conversations.values()].filter(({ cursor, floor }) => cursor !== null || floor !== null);
    return new Map(known.map(({ id, cursor, floor }) => [id, cursor ?? floor]));
  }

  // Conversations known to go on after their cursor.
  behind() {
    return [...this.conversations.values()].filter(({ cursor, head }) => cursor !== null && head > cursor);
  }

  // Another numbering of messages: what was numbered is no more.
  forget() {
    this.begun = false;
    for (const conversation of this.conversations.values()) {
      const messages = conversation.messages.filter(({ seq }) => seq === null);
      Object.assign(conversation, { cursor: null, floor: null, head: 0, held: new Map(), missing: 0, messages, whole: false });
    }
  }

  // Conversations, latest first.
  list() {
    return [...this.conversations.values()].sort((a, b) => b.changed - a.changed);
  }

  // `before`: the last number of what there was; some of it is shown, too.
  #begin(conversation, before) {
    const floor = conversation.floor ?? (this.begun ? 0 : before);
    conversation.cursor = Math.max(0, Math.min(floor, before) - RECENT);
    conversation.head = Math.max(conversation.head, before, floor);
  }

  #goOn(conversation) {
    for (let frame; (frame = conversation.held.get(conversation.cursor + 1)); ) {
      conversation.held.delete(frame.seq);
      conversation.cursor = frame.seq;
      this.#place(conversation, { ...frame, missing: conversation.missing });
      conversation.missing = 0;
    }
  }

  #queued({ messages }, { from, key }) {
    return messages.findIndex((message) => message.seq === null && message.from === from && message.key === key);
  }

  #place(conversation, frame) {
    const { messages } = conversation;
    const index = this.#queued(conversation, frame);
    const [mine] = index < 0 ? [] : messages.splice(index, 1);
    const message = { missing: 0, ...mine, ...frame, body: frame.body ?? mine?.body ?? "", state: "sent" };
    const after = messages.findIndex(({ seq, state }) => (seq === null ? state === "queued" : seq > frame.seq));
    messages.splice(after < 0 ? messages.length : after, 0, message);
    conversation.changed = Math.max(conversation.changed, frame.time);
    if (messages.length > conversation.kept && messages[0].state !== "queued") {
      messages.shift();
      conversation.whole = false;
    }
  }
}
