// What a message's text holds besides text: links, and a quote of the message that it answers. Pure.
//
// A reply begins with lines "> …", the first of them "> AUTHOR: …", and its own text follows. So a
// reply is plain text, and a client that knows nothing of quotes shows it well.

const LINK = /https?:\/\/[^\s<>"'`\u200e\u200f\u202a-\u202e\u2066-\u2069]+/gi;
const QUOTED = 160; // characters of a message that a reply quotes

// The parts of a text: { text, href }, without href where it is no link.
export function parts(text) {
  const found = [];
  let end = 0;
  for (const match of text.matchAll(LINK)) {
    const link = trimmed(match[0]);
    if (!isSafe(link)) continue;
    if (match.index > end) found.push({ text: text.slice(end, match.index) });
    found.push({ text: link, href: link });
    end = match.index + link.length;
  }
  if (end < text.length) found.push({ text: text.slice(end) });
  return found;
}

// { author, quoted, text }: author and quoted are null if the body quotes nothing.
export function reply(body) {
  const lines = body.split("\n");
  const count = lines.findIndex((line) => !line.startsWith("> "));
  const head = count < 1 ? null : /^> ([a-z0-9][a-z0-9._-]{0,63}): (.*)$/.exec(lines[0]);
  if (!head) return { author: null, quoted: null, text: body };
  const rest = lines.slice(1, count).map((line) => line.slice(2));
  return { author: head[1], quoted: [head[2], ...rest].join("\n"), text: lines.slice(count).join("\n") };
}

// The lines that a reply to this message begins with.
export function quote(author, body) {
  const { text } = reply(body);
  const short = text.length > QUOTED ? `${text.slice(0, QUOTED).replace(/[\ud800-\udbff]$/, "").trimEnd()}…` : text;
  return `> ${author}: ${short.trim().replaceAll("\n", "\n> ")}\n`;
}

// A body in one line, for the list of conversations and for notifications.
export const line = (body) => reply(body).text.trim().replace(/\s+/g, " ");

// Without what ends the sentence around the link.
function trimmed(link) {
  const cut = link.replace(/[.,;:!?*_~]+$/, "");
  if (/[)\]}]$/.test(cut) && !balanced(cut)) return trimmed(cut.slice(0, -1));
  return cut;
}

const count = (text, letters) => [...text].filter((letter) => letters.includes(letter)).length;

const balanced = (text) => count(text, "([{") >= count(text, ")]}");

// Only the web, and no name before the host that looks like one.
function isSafe(link) {
  if (!URL.canParse(link)) return false;
  const { username, password } = new URL(link);
  return !username && !password;
}
