// The outbox on disk, in IndexedDB, and the id of its device: what was written while the network
// was away is sent after a restart, once and in order.

import { finished, openDatabase, request } from "./database.js";
import { newDeviceId, newId } from "./ids.js";

const STORES = { about: "name", lanes: "to", sends: "key" };

// { device, stored, save }: `stored` is what a Device begins with, `save(changes)` resolves when
// all its changes are safe, and rejects when none is.
export async function openOutbox(name) {
  const database = await openDatabase(name, STORES);
  const reading = database.transaction(Object.keys(STORES), "readwrite");
  const about = reading.objectStore("about");
  const keep = async (name, value) => {
    const kept = (await request(about.get(name)))?.value ?? value;
    about.put({ name, value: kept });
    return kept;
  };
  const id = await keep("id", newId());
  const device = await keep("device", newDeviceId());
  const lanes = await request(reading.objectStore("lanes").getAll());
  const sends = await request(reading.objectStore("sends").getAll());
  sends.sort((a, b) => a.place - b.place);
  await finished(reading);
  return { device, stored: { outbox: id, lanes, sends }, save: (changes) => save(database, changes) };
}

async function save(database, changes) {
  if (!changes.length) return;
  const writing = database.transaction(["lanes", "sends"], "readwrite", { durability: "strict" });
  for (const { send, finished: key, lane } of changes) {
    if (send) writing.objectStore("sends").put(send);
    else if (lane) writing.objectStore("lanes").put(lane);
    else writing.objectStore("sends").delete(key);
  }
  await finished(writing);
}
