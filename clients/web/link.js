// A tab's way to its device, which is in a shared worker. When the worker ends (its process
// crashed), the tab starts it again or finds it started, and posts again what was not safe yet.
// Where there are no shared workers, a tab is a device of its own.

import { delay } from "./backoff.js";
import { claimFree, hold } from "./claim.js";
import { newId } from "./ids.js";
import { channelOf, Tabs, tokensOf } from "./tabs.js";

const FIRST_AGAIN = 3; // the first wait is up to 0.8 s
const AGAIN = 1000; // ms, after the worker could not be started
const MAX_UNSAFE = 100;

export class Link {
  // token: the one to begin with, "" without a network; fresh(): a promise of another one, or of
  // null, which fails while there is no network; on: attached(),
  // failed(reason), picture(picture), found({ contact, text, seq }), loggedOut()
  constructor(user, token, fresh, on) {
    this.user = user;
    this.token = token;
    this.fresh = fresh;
    this.on = on;
    this.attached = false;
    this.unsafe = new Map();
    this.sight = null;
    this.channel = new BroadcastChannel(channelOf(user));
    this.channel.onmessage = () => on.loggedOut();
    this.tokens = new BroadcastChannel(tokensOf(user));
    this.tokens.onmessage = () => this.#renew();
    this.#attach();
  }

  // What the tab looks at: contact (null: nobody), seen (the version of what it shows), read,
  // older, from (see Store.window).
  look(sight) {
    this.sight = sight;
    this.#post({ t: "look", ...sight });
  }

  // False if too many are not safe yet.
  send(contact, body) {
    if (this.unsafe.size >= MAX_UNSAFE) return false;
    const message = { t: "send", contact, key: newId(), body };
    this.unsafe.set(message.key, message);
    this.#post(message);
    return true;
  }

  // A new text for message `seq`; an empty one deletes it. False as in `send`.
  change(contact, seq, body) {
    if (this.unsafe.size >= MAX_UNSAFE) return false;
    const message = { t: "change", contact, key: newId(), seq, body };
    this.unsafe.set(message.key, message);
    this.#post(message);
    return true;
  }

  typing(contact) {
    this.#post({ t: "typing", contact });
  }

  // The person decides something about a contact (see Device.decide).
  decide(contact, kind, is) {
    this.#post({ t: "decide", contact, kind, is });
  }

  // A text in a conversation, below the number `before`; null: the newest. on.found answers.
  find(contact, text, before) {
    this.#post({ t: "find", contact, text, before });
  }

  logOut() {
    this.#post({ t: "logOut" });
  }

  #attach() {
    this.attached = false;
    this.port = connect(this.user, () => setTimeout(() => this.attached || this.#attach(), AGAIN));
    this.port.onmessage = ({ data }) => this.#handlers[data.t](data);
    this.port.postMessage({ t: "attach", token: this.token });
  }

  async #renew() {
    for (let attempt = FIRST_AGAIN; ; attempt++) {
      try {
        this.token = (await this.fresh()) ?? this.token;
        break;
      } catch {
        await new Promise((passed) => setTimeout(passed, delay(attempt, Math.random())));
      }
    }
    if (this.token) this.#post({ t: "renew", token: this.token });
  }

  #post(message) {
    if (this.attached) this.port.postMessage(message);
  }

  #handlers = {
    attached: ({ life }) => {
      this.attached = true;
      // of what another device has shown this one knows nothing
      if (this.sight) this.look({ ...this.sight, seen: -1, read: 0, older: false });
      for (const message of this.unsafe.values()) this.#post(message);
      if (life) navigator.locks.request(life, { mode: "shared" }, () => this.#attach());
      this.on.attached();
    },
    failed: ({ reason }) => this.on.failed(reason),
    found: (found) => this.on.found(found),
    picture: (picture) => this.on.picture(picture),
    // comes before the server can have answered: a message that this tab posts again was not sent
    // by a device that died
    safe: ({ key }) => this.unsafe.delete(key),
  };
}

// failed(): the worker's files could not be had
function connect(user, failed) {
  if (globalThis.SharedWorker) {
    const worker = new SharedWorker(new URL("worker.js", import.meta.url), { type: "module", name: user });
    worker.onerror = failed;
    return worker.port;
  }
  const { port1, port2 } = new MessageChannel();
  new Tabs(user, claimFree).add(port2);
  return port1;
}
