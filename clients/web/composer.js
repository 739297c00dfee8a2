// Where a person writes. Each conversation has its own draft; one that answers a message begins
// with the quote of it. While a message is edited, the draft waits.

import { $, say } from "./dom.js";
import { makeEmoji } from "./emoji.js";
import { quote, reply } from "./richtext.js";

const LIMIT = 16384; // bytes of UTF-8, as the protocol says
const bytes = new TextEncoder();
// On a phone's keyboard Enter begins a line: there is a button to send.
const touch = matchMedia("(pointer: coarse)");

export class Composer {
  // on: send(text) and change(seq, text), whether it was taken; typing(); leave(); toMessages()
  constructor(drafts, on) {
    this.drafts = drafts;
    this.on = on;
    this.contact = null;
    this.quote = "";
    this.long = "";
    this.outside = "";
    this.editing = null;
    $("send-form").onsubmit = (event) => {
      event.preventDefault();
      this.#send();
    };
    $("text").onkeydown = (event) => this.#pressed(event);
    $("text").oninput = () => {
      this.#changed();
      this.on.typing();
    };
    $("reply-end").onclick = () => this.answer(null);
    $("edit-end").onclick = () => this.open(this.contact);
    makeEmoji((emoji) => {
      $("text").setRangeText(emoji, $("text").selectionStart, $("text").selectionEnd, "end");
      this.#changed();
      this.focus();
    });
  }

  // The conversation with `contact`, with what was written there before.
  open(contact) {
    this.contact = contact;
    this.#edits(null);
    const draft = this.drafts.get(contact);
    this.#put(draft);
    this.long = "";
    this.problem("");
    this.#fit();
  }

  focus() {
    $("text").focus();
  }

  // A message of this user gets another text.
  edit({ seq, body }) {
    this.#edits(seq);
    this.#put(body);
    this.#fit();
    this.focus();
  }

  // The next message answers this one; null: none.
  answer(message) {
    this.#quote(message?.from ?? null, message && reply(message.body).text);
    this.#changed();
    this.focus();
  }

  // text: what is wrong elsewhere, if anything is
  problem(text) {
    this.outside = text;
    say($("send-problem"), this.long || text);
  }

  #pressed(event) {
    if (event.key === "Escape" && this.editing !== null) this.open(this.contact);
    else if (event.key === "Escape" && this.quote) this.answer(null);
    else if (event.key === "Escape") this.on.leave();
    else if (event.key === "ArrowUp" && !$("text").value) this.on.toMessages();
    else if (event.key === "Enter" && !event.shiftKey && !event.isComposing && !touch.matches) this.#send();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #edits(seq) {
    this.editing = seq;
    $("editing").hidden = seq === null;
  }

  #put(body) {
    const { author, quoted, text } = reply(body);
    this.#quote(author, quoted);
    $("text").value = author === null ? body : text;
  }

  #quote(author, body) {
    this.quote = author === null ? "" : quote(author, body);
    $("reply").hidden = !this.quote;
    say($("reply-author"), author ?? "");
    say($("reply-text"), this.quote && reply(this.quote).quoted);
  }

  #changed() {
    if (this.editing === null) this.drafts.set(this.contact, this.quote + $("text").value);
    this.long = "";
    this.problem(this.outside);
    this.#fit();
  }

  #send() {
    if (!$("text").value.trim()) return;
    const text = this.quote + $("text").value;
    const length = bytes.encode(text).length;
    if (length > LIMIT) {
      this.long = `This is too long: ${length} of ${LIMIT} bytes.`;
      this.problem(this.outside);
    } else if (this.editing !== null) {
      if (this.on.change(this.editing, text)) this.open(this.contact);
    } else if (this.on.send(text)) {
      $("text").value = "";
      this.#quote(null);
      this.#changed();
    }
  }

  // As high as the text, up to what the style sheet allows.
  #fit() {
    $("text").style.height = "auto";
    $("text").style.height = `${$("text").scrollHeight + 2}px`;
  }
}
