// The page's driver for run_client.py: node --experimental-websocket
// --experimental-default-type=module page.mjs. The page's client without its page.

import { createInterface } from "node:readline";

const { MESSENGER_URL: url, MESSENGER_USER: user, MESSENGER_TOKEN: token } = process.env;
const { fetch } = globalThis;
globalThis.location = new URL(`${url}/`);
globalThis.fetch = (path, ...more) => fetch(new URL(path, location), ...more);
globalThis.addEventListener = () => {};

const { openClient } = await import("../../web/client.js");

const say = (what) => console.log(JSON.stringify(what));
const client = await openClient(user, token, null, {
  changed: () => {},
  loggedOut: () => {},
  tokenWanted: () => {},
});
const { connection, store } = client;
const { state } = connection.handlers;
connection.handlers.state = (name, code) => {
  if (name === "stopped") say({ stopped: code });
  state(name, code);
};
const [place, sent, failed] = ["place", "sent", "failed"].map((name) => store[name].bind(store));
store.place = (event) => {
  if (event.from !== user) say({ shown: event.seq, from: event.from, body: event.body });
  return place(event);
};
store.sent = (event) => {
  say({ sent: event.seq });
  return sent(event);
};
store.failed = (key, how, reason) => {
  say({ refused: reason });
  return failed(key, how, reason);
};

for await (const line of createInterface(process.stdin)) {
  const { send, body } = JSON.parse(line);
  client.queue(send, crypto.randomUUID().replaceAll("-", ""), body);
}
