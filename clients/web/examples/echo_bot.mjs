// Answers each message with its own text, in Node 22 or later (Node 20: --experimental-websocket).
//
//     export MESSENGER_TOKEN=$(messenger token echo)
//     node clients/web/examples/echo_bot.mjs http://127.0.0.1:8400 echo
//
// It keeps nothing on disk: what it has not answered when it ends stays without an answer.

import { Connection } from "../connection.js";
import { Device } from "../device.js";
import { newDeviceId, newId } from "../ids.js";

globalThis.addEventListener ??= () => {}; // a browser says by it that the network is back

const [url, user] = process.argv.slice(2);
const token = process.env.MESSENGER_TOKEN;
if (!user || !token) {
  console.error("usage: MESSENGER_TOKEN=… node echo_bot.mjs URL USER");
  process.exit(2);
}
const device = new Device(user, {}, { jitter: Math.random, newId });
let timer;

function send() {
  connection.send(device.due(Date.now()));
  device.changes(); // to be saved, in a client that keeps them
  clearTimeout(timer);
  const at = device.wakeAt();
  if (at !== null) timer = setTimeout(send, at - Date.now());
}

function answer(event) {
  if (event.event !== "message") return;
  device.shown(event);
  if (event.from === user) return;
  if (event.body && !event.changes) device.submit(event.from, newId(), event.body);
  device.read(event.conversation, event.seq);
}

const address = new URL("/v1/socket", url);
address.protocol = address.protocol.replace("http", "ws");
const connection = new Connection(address, token, newDeviceId(), {
  state(name, code) {
    if (name !== "online") device.disconnected();
    if (name !== "stopped") return;
    console.error(`the server does not want this device: code ${code}`);
    process.exit(1);
  },
  frame(frame) {
    device.receive(frame, Date.now()).forEach(answer);
    send();
  },
});
