// A small choice of emoji beside the text field; a system's own keyboard has them all.

import { $, make } from "./dom.js";

const CHOICE = Object.entries({
  "😀": "grinning", "😄": "laughing", "😂": "tears of joy", "🙂": "smile", "😉": "wink", "😊": "blush", "😍": "heart eyes", "😘": "kiss",
  "😎": "sunglasses", "🤔": "thinking", "😐": "neutral", "😏": "smirk", "😴": "asleep", "😢": "crying", "😭": "sobbing", "😡": "angry",
  "😱": "scream", "🥳": "party", "🤗": "hug", "🙈": "see no evil", "👍": "thumbs up", "👎": "thumbs down", "👌": "ok", "🙏": "please",
  "👏": "applause", "👋": "wave", "💪": "strong", "🤝": "handshake", "✌️": "victory", "🤞": "fingers crossed", "👀": "eyes", "🎉": "confetti",
  "❤️": "heart", "💔": "broken heart", "🔥": "fire", "⭐": "star", "✅": "done", "❌": "no", "❓": "question", "❗": "exclamation",
  "☕": "coffee", "🍕": "pizza", "🎂": "cake", "🍺": "beer", "🌞": "sun", "🌧️": "rain", "🚗": "car", "🏠": "home",
});
const ROW = 8;

// picked(emoji)
export function makeEmoji(picked) {
  const buttons = CHOICE.map(([emoji, name]) => {
    const button = make("button", { type: "button", class: "tool", "aria-label": name, title: name, text: emoji });
    button.onclick = () => {
      $("emoji").hidePopover();
      picked(emoji);
    };
    return button;
  });
  $("emoji").replaceChildren(...buttons);
  $("emoji").onkeydown = (event) => {
    const here = buttons.findIndex((button) => button === document.activeElement);
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: ROW, ArrowUp: -ROW }[event.key];
    if (!step) return;
    event.preventDefault();
    buttons[here + step]?.focus();
  };
  $("emoji").ontoggle = ({ newState }) => newState === "open" && buttons[0].focus();
}
