// Prints every message of the log once, as JSON lines, up to where the log ends now.
//
//     npm install && node messages.mjs HOST:PORT
//
// docs/KAFKA.md explains it. Exit code 1: a part of the log is missing.

import { decode } from "@msgpack/msgpack";
import kafkajs from "kafkajs";

const topic = "messages";
const kafka = new kafkajs.Kafka({ brokers: process.argv[2].split(","), logLevel: kafkajs.logLevel.ERROR });
const admin = kafka.admin();
await admin.connect();
const ends = new Map(); // partition -> its end now
for (const { partition, low, high } of await admin.fetchTopicOffsets(topic)) {
  if (Number(low) < Number(high)) ends.set(partition, Number(high));
}
await admin.disconnect();

const r = new Map(); // partition -> the last input offset whose messages are printed
const ahead = new Map(); // partition -> the end of what has come without what is before it

function read(partition, value) {
  const [version, , first, to, , , , , taken] = decode(value);
  if (version > 1) throw new Error(`a record of version ${version}`);
  const position = r.get(partition) ?? first - 1;
  if (first > position + 1) {
    ahead.set(partition, to); // what is missing follows later in the log, and this once more
    return;
  }
  for (const [offset, time, conversation, sender, device, , , key, seq, , body, changes] of taken) {
    if (offset <= position || !seq) continue; // seq 0: refused, no message
    const hex = Buffer.from(key).toString("hex");
    const message = { conversation, seq, sender, device, key: hex, time, body, changes: changes?.[0] ?? 0 };
    console.log(JSON.stringify(message));
  }
  r.set(partition, Math.max(position, to));
}

// the group's offsets are not used: it starts anew with each run
const consumer = kafka.consumer({ groupId: `example-${process.pid}-${Date.now()}` });
await consumer.connect();
await consumer.subscribe({ topic, fromBeginning: true });
let done;
const all = new Promise((resolve) => (done = resolve));
await consumer.run({
  autoCommit: false,
  eachMessage: async ({ partition, message }) => {
    if (!ends.has(partition)) return;
    read(partition, message.value);
    if (Number(message.offset) + 1 >= ends.get(partition)) ends.delete(partition);
    if (!ends.size) done();
  },
});
if (ends.size) await all;
await consumer.disconnect();
process.exitCode = [...ahead].some(([partition, to]) => to > r.get(partition)) ? 1 : 0;
