// Keeps what a page shows: the last messages of the conversations that were written in last. What
// has changed is written to disk a while later.

const MESSAGES = 100; // of a conversation
const CONVERSATIONS = 50;
const LATER = 1000; // ms from a change until it is written

export class Keeper {
  // disk: { shown, keep, forget } of showndb.js; standing(conversation): { mark, unread } of it
  constructor(store, disk, standing) {
    this.store = store;
    this.disk = disk;
    this.standing = standing;
    this.timer = null;
    this.log = disk.shown.log;
    this.kept = new Set(disk.shown.conversations.map(({ contact }) => contact));
    store.bringBack(disk.shown.conversations);
  }

  // Something may have changed; log: the numbering that it is of.
  changed(log) {
    this.log = log;
    this.timer ??= setTimeout(() => this.#write(), LATER);
  }

  async forget() {
    clearTimeout(this.timer);
    this.timer = null;
    for (const contact of this.store.conversations.keys()) this.store.dirty.add(contact);
    await this.disk.forget().catch(() => {}); // a disk that takes nothing has kept nothing either
  }

  async #write() {
    const listed = this.store.list().slice(0, CONVERSATIONS);
    const wanted = new Set(listed.map(({ contact }) => contact));
    const gone = [...this.kept].filter((contact) => !wanted.has(contact));
    const changed = listed.filter(({ contact }) => this.store.dirty.delete(contact));
    const copies = changed.map((one) => ({ ...this.store.copy(one.contact, MESSAGES), ...this.standing(one) }));
    try {
      if (copies.length || gone.length) await this.disk.keep(this.log, copies, gone);
      this.kept = wanted;
    } catch {
      for (const { contact } of changed) this.store.dirty.add(contact); // the disk takes nothing now
    }
    this.timer = null;
  }
}
