// What a page shows, on disk: the last messages of the last conversations, for a page that opens
// without a network. It is a copy: the device asks the server for everything all the same.

import { finished, openDatabase, request } from "./database.js";

const STORES = { about: "name", conversations: "contact" };

// { shown, keep, forget }: `shown` { log, conversations } is what was kept; `keep` resolves when
// these are, too, and `forget` when nothing is.
export async function openShown(user) {
  const database = await openDatabase(`messenger/${user}/shown`, STORES);
  const reading = database.transaction(Object.keys(STORES));
  const log = (await request(reading.objectStore("about").get("log")))?.value ?? "";
  const conversations = await request(reading.objectStore("conversations").getAll());
  return {
    shown: { log, conversations },
    keep: (log, conversations, gone) => write(database, (about, kept) => {
      about.put({ name: "log", value: log });
      for (const conversation of conversations) kept.put(conversation);
      for (const contact of gone) kept.delete(contact);
    }),
    forget: () => write(database, (about, kept) => {
      about.clear();
      kept.clear();
    }),
  };
}

async function write(database, change) {
  const writing = database.transaction(Object.keys(STORES), "readwrite");
  change(writing.objectStore("about"), writing.objectStore("conversations"));
  await finished(writing);
}
