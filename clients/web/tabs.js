// Serves the tabs of one device over their ports. A tab posts what it looks at, and gets one
// picture when there is something new to see: a tab that draws slowly or not at all (hidden,
// frozen, gone) has at most one picture waiting. A tab of a newer page meets the device of an older
// one that is still open, so these messages may get new fields, and lose none.
//
//   tab → device   attach { token }   renew { token }   look { contact, seen, read, older, from }   send { contact, key, body }   change { contact, key, seq, body }   typing { contact }   decide { contact, kind, is }   find { contact, text, before }   logOut
//   device → tab   attached { life }   failed { reason }   picture { version, … }   safe { key }   found { text, seq }

import { hold } from "./claim.js";
import { openClient } from "./client.js";
import { newId } from "./ids.js";

export const channelOf = (user) => `messenger/${user}`; // says that the user has logged out
export const tokensOf = (user) => `messenger/${user}/tokens`; // says that the device wants a fresh token

export class Tabs {
  // claim(user): the name of an outbox to send from
  constructor(user, claim) {
    this.user = user;
    this.claim = claim;
    this.outbox = null;
    this.opening = null;
    this.device = null;
    this.version = 0;
    this.looks = new Map();
    this.channel = new BroadcastChannel(channelOf(user));
    this.tokens = new BroadcastChannel(tokensOf(user));
    // while the lock is held, the device lives: by it tabs notice that they need another (no locks,
    // no notice)
    this.life = navigator.locks ? `messenger/${user}/${newId()}` : null;
    this.alive = this.life && new Promise((resolve) => hold(this.life, {}, resolve));
  }

  add(port) {
    port.onmessage = ({ data }) => this.#handlers[data.t](port, data);
  }

  // A device that could not be opened may be tried again.
  #open(token) {
    const on = { changed: () => this.#changed(), loggedOut: () => this.channel.postMessage("logged out"), tokenWanted: () => this.tokens.postMessage("wanted") };
    this.outbox ??= this.claim(this.user);
    this.opening ??= this.outbox.then((outbox) => openClient(this.user, token, outbox, on));
    return this.opening;
  }

  #changed() {
    this.version++;
    for (const [port, { contact, from }] of this.looks) this.#show(port, contact, from);
    this.looks.clear();
  }

  #show(port, contact, from) {
    port.postMessage({ t: "picture", version: this.version, ...this.device.picture(contact, from) });
  }

  #handlers = {
    attach: async (port, { token }) => {
      try {
        this.device = await this.#open(token);
        await this.alive;
        if (token) this.device.renew(token);
        port.postMessage({ t: "attached", life: this.life });
      } catch (error) {
        this.opening = null;
        port.postMessage({ t: "failed", reason: error.message });
      }
    },
    renew: (_, { token }) => this.device.renew(token),
    look: (port, { contact, seen, read, older, from }) => {
      if (contact !== null) this.device.look(contact, read, older);
      this.looks.delete(port);
      if (seen < this.version) this.#show(port, contact, from);
      else this.looks.set(port, { contact, from });
    },
    send: async (port, { contact, key, body }) => {
      await this.device.queue(contact, key, body);
      port.postMessage({ t: "safe", key });
    },
    change: async (port, { contact, key, seq, body }) => {
      await this.device.change(contact, key, seq, body);
      port.postMessage({ t: "safe", key });
    },
    typing: (_, { contact }) => this.device.typing(contact),
    decide: (_, { contact, kind, is }) => this.device.decide(contact, kind, is),
    find: (port, { contact, text, before }) =>
      this.device.find(port, { contact, text, before }, (seq) => port.postMessage({ t: "found", contact, text, seq })),
    logOut: () => this.device.logOut(),
  };
}
