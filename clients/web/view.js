// What is seen: the login, the list of conversations, the open conversation.

import { Composer } from "./composer.js";
import { avatar, ContactList } from "./contactlist.js";
import { $, icon, make, say } from "./dom.js";
import { Drafts } from "./drafts.js";
import { Messages } from "./messages.js";

const THEMES = ["", "light", "dark"];
const THEME_NAMES = { "": "as the system", light: "light", dark: "dark" };
const OFFLINE = "No connection. What you write is sent when it is back.";
const narrow = matchMedia("(max-width: 44rem)");

export class View {
  // actions: open(contact), close(), moved(), typing(), send(text) (whether it was taken), logOut()
  constructor(user, actions) {
    this.user = user;
    this.actions = actions;
    const drafts = new Drafts(user);
    this.contacts = new ContactList(drafts, actions);
    this.messages = new Messages(actions);
    this.composer = new Composer(drafts, {
      typing: actions.typing,
      leave: () => this.#leave(),
      send: (text) => {
        const taken = actions.send(text);
        if (taken) this.messages.toEnd();
        return taken;
      },
    });
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
    document.title = `${this.user} – Messenger`;
    $("contact").focus();
  }

  connection(state, reason) {
    const text = reason ? `${state}: ${reason}` : state;
    $("connection").dataset.state = $("offline").dataset.state = state;
    say($("connection"), text);
    say($("offline"), state === "online" ? "" : state === "stopped" ? text : OFFLINE);
  }

  opened(contact) {
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

  // A device's picture.
  draw({ state, reason, contacts, contact, conversation }) {
    const now = Date.now();
    this.connection(state, reason);
    this.contacts.draw(contacts, contact, this.user, now);
    say($("presence"), conversation?.presence ?? "");
    if (conversation) this.messages.draw(conversation, this.user, now);
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
