// What the page holds: conversations by contact, each with its messages in order and the last number shown.

const KEPT = 1000; // messages of a conversation; older ones leave the page

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

  // A numbered message: { conversation, seq, from, key, time, body }. Shown once. Numbers at or below the cursor are known,
  // save that of one's own message whose first answer was lost.
  take(frame) {
    const conversation = this.open(this.contactOf(frame.conversation));
    const { messages, cursor } = conversation;
    const index = messages.findIndex((message) => message.seq === null && message.from === frame.from && message.key === frame.key);
    if (cursor !== null && frame.seq <= cursor && index < 0) return;
    const missing = cursor === null || frame.seq <= cursor ? 0 : frame.seq - cursor - 1;
    const [mine] = index < 0 ? [] : messages.splice(index, 1);
    const message = { ...mine, ...frame, body: frame.body ?? mine?.body ?? "", missing, state: "sent" };
    const after = messages.findIndex(({ seq, state }) => (seq === null ? state === "queued" : seq > frame.seq));
    messages.splice(after < 0 ? messages.length : after, 0, message);
    conversation.cursor = Math.max(cursor ?? 0, frame.seq);
    conversation.changed = Date.now();
    if (messages.length > KEPT && messages[0].state !== "queued") messages.shift();
  }

  // Conversations, latest first.
  list() {
    return [...this.conversations.values()].sort((a, b) => b.changed - a.changed);
  }
}
