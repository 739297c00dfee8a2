// Older messages, a page at a time, asked for when a conversation is scrolled to its top.

const PAGE = 50;
const AGAIN = 1000; // ms until a question that could not be answered is asked again

export class ScrollBack {
  // send(frames) hands frames to the connection; nextId() numbers questions
  constructor(store, send, nextId) {
    Object.assign(this, { store, send, nextId, asked: new Map(), waiting: new Set() });
  }

  // A new session: what was asked before is not answered any more.
  begin() {
    this.asked.clear();
  }

  more(contact) {
    const { id: conversation, whole } = this.store.open(contact);
    const before = this.store.oldest(contact);
    if (whole || before === null || this.waiting.has(contact) || [...this.asked.values()].includes(contact)) return;
    const id = this.nextId();
    this.asked.set(id, contact);
    this.send([{ t: "history", id, conversation, before, limit: PAGE }]);
  }

  // Whether the page answers a question of ours.
  page(frame) {
    const contact = this.#answered(frame);
    if (contact) this.store.older(contact, frame.messages, frame.first ?? false);
    return Boolean(contact);
  }

  // Whether the error answers a question of ours.
  error(frame) {
    const contact = this.#answered(frame);
    if (contact && frame.retry) {
      this.waiting.add(contact);
      setTimeout(() => this.waiting.delete(contact), AGAIN);
    } else if (contact) this.store.older(contact, [], true);
    return Boolean(contact);
  }

  #answered({ id }) {
    const contact = this.asked.get(id);
    this.asked.delete(id);
    return contact;
  }
}
