// Where a person writes. Each conversation has its own draft.

import { $, say } from "./dom.js";

const LIMIT = 16384; // bytes of UTF-8, as the protocol says
const bytes = new TextEncoder();
// On a phone's keyboard Enter begins a line: there is a button to send.
const touch = matchMedia("(pointer: coarse)");

export class Composer {
  // on: send(text), whether it was taken; typing(); leave()
  constructor(drafts, on) {
    Object.assign(this, { drafts, on, contact: null, long: "", outside: "" });
    $("send-form").onsubmit = (event) => {
      event.preventDefault();
      this.#send();
    };
    $("text").onkeydown = (event) => {
      if (event.key === "Escape") this.on.leave();
      if (event.key !== "Enter" || event.shiftKey || event.isComposing || touch.matches) return;
      event.preventDefault();
      this.#send();
    };
    $("text").oninput = () => {
      this.drafts.set(this.contact, $("text").value);
      this.long = "";
      this.problem(this.outside);
      this.#fit();
      this.on.typing();
    };
  }

  // The conversation with `contact`, with what was written there before.
  open(contact) {
    this.contact = contact;
    $("text").value = this.drafts.get(contact);
    this.long = "";
    this.problem("");
    this.#fit();
  }

  focus() {
    $("text").focus();
  }

  // text: what is wrong elsewhere, if anything is
  problem(text) {
    this.outside = text;
    say($("send-problem"), this.long || text);
  }

  #send() {
    const text = $("text").value;
    if (!text.trim()) return;
    const length = bytes.encode(text).length;
    if (length > LIMIT) {
      this.long = `This is too long: ${length} of ${LIMIT} bytes.`;
      this.problem(this.outside);
    } else if (this.on.send(text)) {
      $("text").value = "";
      this.drafts.set(this.contact, "");
      this.#fit();
    }
  }

  // As high as the text, up to what the style sheet allows.
  #fit() {
    $("text").style.height = "auto";
    $("text").style.height = `${$("text").scrollHeight + 2}px`;
  }
}
