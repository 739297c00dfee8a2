// Searching in conversations, from the newest message to the oldest, as far back as there are
// messages: those that are here first, then page by page.

export class Finder {
  // askOlder(contact): ask for messages of before those that are here
  constructor(store, askOlder) {
    this.store = store;
    this.askOlder = askOlder;
    this.open = new Map();
  }

  // answer(seq): of the newest message with this text below the number `before` (null: of all), null
  // if there is none. Each asker has one search.
  find(asker, wanted, answer) {
    this.open.set(asker, { ...wanted, answer });
    this.goOn();
  }

  // Messages have come.
  goOn() {
    for (const [asker, { contact, text, before, answer }] of this.open) {
      const seq = this.store.find(contact, text, before);
      if (seq === null && this.store.goesBack(contact)) this.askOlder(contact);
      else {
        this.open.delete(asker);
        answer(seq);
      }
    }
  }
}
