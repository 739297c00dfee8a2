// What tells a person who looks elsewhere that something has come: the number in the title, the
// badge of an installed page, and notifications of the desktop, unless the conversation is muted.

import { $, icon, make } from "./dom.js";
import { line } from "./richtext.js";

// The messages in a picture's contacts that are news: { contact, body }. known: contact → the last
// seq that is no news, which this brings up to date; since: what was said before (ms since 1970) is
// none.
export function news(contacts, known, me, since) {
  const found = [];
  for (const { contact, latest, unread } of contacts) {
    if (!latest?.seq || latest.seq <= (known.get(contact) ?? 0)) continue;
    known.set(contact, latest.seq);
    if (unread && latest.from !== me && !latest.erased && latest.time >= since) found.push({ contact, body: latest.body });
  }
  return found;
}

export class Notices {
  // open(contact): the person has clicked a notification
  constructor(user, open, storage = localStorage) {
    this.user = user;
    this.open = open;
    this.storage = storage;
    this.known = new Map();
    this.since = Date.now();
    $("notify").hidden = !globalThis.Notification;
    $("notify").onclick = async () => {
      if (Notification.permission === "default") await Notification.requestPermission();
      else this.#keep("quiet", !this.#kept("quiet"));
      this.#drawSwitch();
    };
    this.#drawSwitch();
  }

  muted(contact) {
    return this.#kept(`muted/${contact}`);
  }

  mute(contact, muted) {
    this.#keep(`muted/${contact}`, muted);
  }

  // A picture has come, drawn or not.
  notice(contacts, current) {
    const unread = contacts.reduce((sum, { contact, unread }) => sum + (this.muted(contact) ? 0 : unread), 0);
    document.title = `${unread ? `(${unread}) ` : ""}${this.user} – Messenger`;
    navigator.setAppBadge?.(unread).catch(() => {});
    for (const { contact, body } of news(contacts, this.known, this.user, this.since)) {
      const looked = !document.hidden && contact === current;
      if (!looked && !this.muted(contact) && this.#wanted()) this.#notify(contact, line(body));
    }
  }

  // One notification of a conversation at a time, of all tabs together.
  #notify(contact, body) {
    const shown = new Notification(contact, { body, tag: `${this.user}/${contact}`, icon: "icon.svg" });
    shown.onclick = () => {
      focus();
      this.open(contact);
      shown.close();
    };
  }

  #wanted() {
    return globalThis.Notification?.permission === "granted" && !this.#kept("quiet");
  }

  #drawSwitch() {
    const on = this.#wanted();
    const text = globalThis.Notification?.permission === "denied" ? "Notifications are blocked by the browser" : `Notifications: ${on ? "on" : "off"}`;
    $("notify").replaceChildren(icon(on ? "bell" : "muted"), make("span", { class: "hidden", text }));
    $("notify").title = text;
  }

  #kept(name) {
    return this.storage.getItem(`messenger/${this.user}/${name}`) !== null;
  }

  #keep(name, on) {
    if (on) this.storage.setItem(`messenger/${this.user}/${name}`, "1");
    else this.storage.removeItem(`messenger/${this.user}/${name}`);
  }
}
