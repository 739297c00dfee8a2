// What the page holds: conversations by contact, each with its messages in order and the last number shown.

export class Store {
  constructor(me) {
    this.me = me;
    this.conversations = new Map();
  }

  open(contact) {
    if (!this.conversations.has(contact)) {
      this.conversations.set(contact, { contact, cursor: null, messages: [], changed: Date.now() });
    }
    return this.conversations.get(contact);
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

  mark(key, state, reason = "") {
    for (const { messages } of this.conversations.values()) {
      const message = messages.find((candidate) => candidate.key === key);
      if (message) Object.assign(message, { state, reason });
    }
  }

  // A numbered message: { conversation, seq, from, key, time, body }. Shown once; numbers at or below the cursor are known.
  take(frame) {
    const conversation = this.open(this.contactOf(frame.conversation));
    if (conversation.cursor !== null && frame.seq <= conversation.cursor) return;
    const missing = conversation.cursor === null ? 0 : frame.seq - conversation.cursor - 1;
    conversation.cursor = frame.seq;
    conversation.changed = Date.now();
    const index = conversation.messages.findIndex((message) => message.from === frame.from && message.key === frame.key && message.seq === null);
    const [mine] = index < 0 ? [] : conversation.messages.splice(index, 1);
    const message = { ...mine, ...frame, body: frame.body ?? mine?.body ?? "", missing, state: "sent" };
    const firstQueued = conversation.messages.findIndex((candidate) => candidate.seq === null);
    conversation.messages.splice(firstQueued < 0 ? conversation.messages.length : firstQueued, 0, message);
  }

  // Conversations, latest first.
  list() {
    return [...this.conversations.values()].sort((a, b) => b.changed - a.changed);
  }
}
