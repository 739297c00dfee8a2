// What a user has written and not sent yet, by contact, in the browser's storage: it outlives the
// page, and all tabs have the same.

export class Drafts {
  constructor(user, storage = localStorage) {
    this.prefix = `messenger/${user}/draft/`;
    this.storage = storage;
  }

  get(contact) {
    return this.storage.getItem(this.prefix + contact) ?? "";
  }

  // Nothing that was written stays here.
  clear() {
    for (const name of Object.keys(this.storage)) if (name.startsWith(this.prefix)) this.storage.removeItem(name);
  }

  set(contact, text) {
    try {
      if (text.trim()) this.storage.setItem(this.prefix + contact, text);
      else this.storage.removeItem(this.prefix + contact);
    } catch {
      // the storage is full: this draft lives no longer than the text field
    }
  }
}
