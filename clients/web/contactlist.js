// The list of conversations, the one written in last first. One item can be reached by Tab, the
// others from there by the arrow keys.

import { $, arrange, icon, make, say } from "./dom.js";
import { fate, fateText, hue, shortTime } from "./format.js";
import { WRITES } from "./presence.js";
import { line } from "./richtext.js";

const isHere = (presence) => presence === "online" || presence === WRITES;

export function avatar(name) {
  const circle = make("span", { class: "avatar", "aria-hidden": "true", text: name[0] });
  circle.style.setProperty("--hue", `${hue(name)}`);
  return circle;
}

export class ContactList {
  // on: open(contact), find(text) when a person looks for somebody
  constructor(drafts, on) {
    this.drafts = drafts;
    this.on = on;
    this.items = new Map();
    this.active = null;
    $("contact-form").onsubmit = (event) => {
      event.preventDefault();
      const contact = $("contact").value.trim();
      $("contact").value = "";
      this.#filter();
      this.on.open(contact);
    };
    $("contact").oninput = () => this.#filter();
    $("contact").onkeydown = (event) => {
      if (event.key === "ArrowDown") this.#go(event, this.#buttons()[0]);
    };
    $("contacts").onkeydown = (event) => this.#move(event);
    $("contacts").onfocusin = (event) => this.#activate(event.target.closest("li")?.dataset.contact);
  }

  draw(contacts, current, me, now) {
    const items = new Map();
    for (const entry of contacts) {
      const item = this.items.get(entry.contact) ?? this.#item(entry.contact);
      this.#update(item, entry, entry.contact === current, me, now);
      items.set(entry.contact, item);
    }
    this.items = items;
    arrange($("contacts"), [...items.values()]);
    $("no-contacts").hidden = items.size > 0;
    const requests = contacts.filter(({ request }) => request).length;
    $("requests").hidden = !requests;
    say($("requests"), requests === 1 ? "1 message request" : `${requests} message requests`);
    if (!items.has(this.active)) this.active = items.has(current) ? current : contacts[0]?.contact;
    this.#activate(this.active);
    this.#filter();
  }

  // To the conversation that is open, or the first.
  focus() {
    (this.items.get(this.active)?.firstChild ?? $("contact")).focus();
  }

  #item(contact) {
    const button = make(
      "button", { type: "button" },
      avatar(contact),
      make("span", { class: "name", text: contact }),
      make("time", { class: "when" }),
      make("span", { class: "last" }),
      make("span", { class: "unread" }),
    );
    button.onclick = () => this.on.open(contact);
    return make("li", { "data-contact": contact }, button);
  }

  /**
   * @param {any} item
   * @param {import("./messenger.js").Contact & { muted?: boolean, request?: boolean }} entry
   * @param {boolean} current
   * @param {string} me
   * @param {number} now
   */
  #update(item, { contact, presence, unread, ...entry }, current, me, now) {
    const button = item.firstChild;
    const [, , when, last, badge] = button.children;
    item.dataset.online = isHere(presence);
    item.dataset.muted = Boolean(entry.muted);
    button.setAttribute("aria-current", current);
    say(when, entry.time ? shortTime(entry.time, now) : "");
    const draft = current ? "" : this.drafts.get(contact);
    last.classList.toggle("writes", presence === WRITES);
    last.classList.toggle("draft", Boolean(draft) && presence !== WRITES);
    const text = entry.request ? `Request: ${lineOf(entry)}` : lineOf(entry);
    this.#last(last, draft ? `Draft: ${line(draft)}` : text, {
      ...entry, presence, mine: !draft && entry.latest?.from === me,
    });
    badge.hidden = !unread;
    say(badge, unread > 99 ? "99+" : `${unread}`);
    badge.setAttribute("aria-label", `${unread} unread`);
    badge.setAttribute("role", "img");
  }

  // The last line: who writes now, a draft, or the last message with its tick.
  #last(element, text, { presence, mine, latest, mark }) {
    const shown = presence === WRITES ? WRITES : text;
    const tick = mine && presence !== WRITES ? fate(latest, mark) : "";
    const drawn = JSON.stringify([shown, tick]);
    if (element.dataset.drawn === drawn) return;
    element.dataset.drawn = drawn;
    element.replaceChildren(...(tick ? [tickOf(tick, latest.reason)] : []), make("span", { text: shown }));
  }

  #filter() {
    const wanted = $("contact").value.trim();
    for (const [contact, item] of this.items) item.hidden = !contact.includes(wanted);
  }

  #buttons() {
    return [...$("contacts").querySelectorAll("li:not([hidden]) > button")];
  }

  #activate(contact) {
    if (!this.items.has(contact)) return;
    this.active = contact;
    for (const [name, item] of this.items) item.firstChild.tabIndex = name === contact ? 0 : -1;
  }

  #move(event) {
    const buttons = this.#buttons();
    const here = buttons.indexOf(document.activeElement);
    const steps = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: buttons.length - 1 };
    if (event.key in steps) this.#go(event, buttons[steps[event.key]] ?? (here === 0 && $("contact")));
  }

  #go(event, element) {
    event.preventDefault();
    if (element) element.focus();
  }
}

function lineOf({ last, latest, earlier }) {
  if (latest?.erased) return "This message was deleted.";
  return last === null ? (earlier ? "…" : "no messages yet") : line(last);
}

// The tick of a message of one's own.
export function tickOf(name, reason) {
  const text = fateText(name, reason);
  return make("span", { class: "tick", "data-fate": name, title: text }, icon(name), make("span", { class: "hidden", text }));
}
