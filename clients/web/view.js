// What is seen: the login, the list of conversations, the open conversation.

import { Actions } from "./actions.js";
import { Composer } from "./composer.js";
import { avatar, ContactList } from "./contactlist.js";
import { $, icon, make, say } from "./dom.js";
import { Drafts } from "./drafts.js";
import { Messages } from "./messages.js";
import { Notices } from "./notices.js";
import { reply } from "./richtext.js";
import { Search } from "./search.js";

const THEMES = ["", "light", "dark"];
const THEME_NAMES = { "": "as the system", light: "light", dark: "dark" };
const OFFLINE = "No connection. What you write is sent when it is back.";
const narrow = matchMedia("(max-width: 44rem)");

export class View {
  // actions: open(contact), close(), moved(), typing(), send(text) (whether it was taken),
  // change(seq, text) (likewise; without a text the message is deleted), decide(kind, is) about whom
  // the conversation is with, find(text, before), logOut()
  constructor(user, actions) {
    this.user = user;
    this.actions = actions;
    this.drafts = new Drafts(user);
    const { drafts } = this;
    this.contacts = new ContactList(drafts, actions);
    this.messages = new Messages(actions);
    this.composer = new Composer(drafts, {
      typing: actions.typing,
      leave: () => this.#leave(),
      toMessages: () => this.messages.focus(),
      change: actions.change,
      send: (text) => {
        const taken = actions.send(text);
        if (taken) this.messages.toEnd();
        return taken;
      },
    });
    this.notices = new Notices(user, actions.open);
    this.search = new Search({
      find: actions.find,
      show: (seq) => this.messages.show(seq),
      ended: () => this.messages.toEnd(),
    });
    const { list } = this.messages;
    new Actions(list, (element) => this.messages.of(element), user, this.#ofMessages());
    $("mute").onclick = () => {
      this.notices.mute(this.contact, !this.notices.muted(this.contact));
      this.#drawMuted();
      actions.moved();
    };
    $("block").onclick = () => actions.decide("blocked", $("block").getAttribute("aria-pressed") !== "true");
    $("accept").onclick = () => actions.decide("contact", true);
    $("decline").onclick = () => actions.decide("declined", true);
    $("logout").onclick = () => actions.logOut();
    $("back").onclick = () => this.#leave();
    $("theme").onclick = () => this.#nextTheme();
    $("messages").onkeydown = (event) => {
      if (event.key === "Escape") this.#leave();
    };
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this.messages.leave();
      else requestAnimationFrame(() => this.messages.back()); // after what has come meanwhile is drawn
    });
    this.#drawTheme();
  }

  start() {
    $("login").hidden = true;
    $("chat").hidden = false;
    say($("me"), this.user);
    if (!narrow.matches) $("contact").focus();
  }

  // The person has logged out: nothing that was written stays here.
  forget() {
    this.drafts.clear();
  }

  connection(state, reason) {
    const text = reason ? `${state}: ${reason}` : state;
    $("connection").dataset.state = $("offline").dataset.state = state;
    say($("connection"), text);
    say($("offline"), state === "online" ? "" : state === "stopped" ? text : OFFLINE);
  }

  opened(contact) {
    this.contact = contact;
    this.search.closed();
    this.#drawMuted();
    $("chat").classList.add("open");
    $("welcome").hidden = true;
    $("conversation").hidden = false;
    say($("peer"), contact);
    $("peer-avatar").replaceChildren(avatar(contact));
    this.messages.open();
    this.composer.open(contact);
    this.focus();
  }

  closed() {
    $("chat").classList.remove("open");
    $("welcome").hidden = false;
    $("conversation").hidden = true;
  }

  focus() {
    if (narrow.matches) $("back").focus(); // no keyboard jumps up
    else this.composer.focus();
  }

  problem(text) {
    this.composer.problem(text);
  }

  // What the device has found.
  found(found) {
    if (found.contact === this.contact) this.search.answered(found);
  }

  // A picture has come, which may not be drawn.
  notice({ contacts, contact }) {
    this.notices.notice(contacts, contact);
  }

  // A device's picture.
  draw({ state, reason, contacts, contact, conversation }) {
    const now = Date.now();
    this.connection(state, reason);
    const listed = contacts.map((entry) => ({ ...entry, muted: this.notices.muted(entry.contact) }));
    this.contacts.draw(listed, contact, this.user, now);
    say($("presence"), conversation?.presence ?? "");
    if (conversation) {
      $("block").setAttribute("aria-pressed", conversation.blocked);
      say($("block"), conversation.blocked ? "Unblock" : "Block");
      $("request").hidden = !conversation.request;
      this.messages.draw(conversation, this.user, now);
    }
  }

  // What can be done with a message (see Actions).
  #ofMessages() {
    const fits = ({ erased }) => !erased;
    const mine = ({ from, seq, erased }, me) => from === me && seq !== null && !erased;
    const remove = ({ seq }) => confirm("Delete this message for everybody?") && this.actions.change(seq, "");
    return [
      { name: "reply", label: "Reply", key: "r", fits, run: (message) => this.composer.answer(message) },
      { name: "copy", label: "Copy", key: "c", fits, run: ({ body }) => this.#copy(reply(body).text) },
      { name: "edit", label: "Edit", key: "e", fits: mine, run: (message) => this.composer.edit(message) },
      { name: "delete", label: "Delete for everybody", key: "Delete", fits: mine, run: remove },
    ];
  }

  // Where a page may not, the person does it by hand.
  async #copy(text) {
    await navigator.clipboard?.writeText(text).then(() => say($("announce"), "Copied"), () => {});
  }

  #drawMuted() {
    const muted = this.notices.muted(this.contact);
    $("mute").setAttribute("aria-pressed", muted);
    $("mute").replaceChildren(icon(muted ? "muted" : "bell"));
  }

  // From the conversation to the list, where there is room for one of them the conversation closes.
  #leave() {
    if (narrow.matches) this.actions.close();
    this.contacts.focus();
  }

  #nextTheme() {
    const theme = THEMES[(THEMES.indexOf(localStorage.getItem("messenger/theme") ?? "") + 1) % THEMES.length];
    localStorage.setItem("messenger/theme", theme);
    this.#drawTheme();
  }

  #drawTheme() {
    const theme = localStorage.getItem("messenger/theme") ?? "";
    document.documentElement.dataset.theme = theme;
    const text = `Colours: ${THEME_NAMES[theme]}`;
    $("theme").replaceChildren(icon("theme"), make("span", { class: "hidden", text }));
    $("theme").title = text;
  }
}
