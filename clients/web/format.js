// Words for times, marks and people. Pure; times are ms since 1970, `now` one of them.

const DAY = 86_400_000;

const clockOf = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit" });
const weekdayOf = new Intl.DateTimeFormat([], { weekday: "long" });
const dateOf = new Intl.DateTimeFormat([], { day: "numeric", month: "long", year: "numeric" });
const shortDateOf = new Intl.DateTimeFormat([], { day: "2-digit", month: "2-digit", year: "2-digit" });

export const clock = (time) => clockOf.format(time);

// Midnight before a time, by the clock of this place: the name of its day.
export const dayOf = (time) => new Date(time).setHours(0, 0, 0, 0);

// Days from a time until now, by the calendar.
const daysAgo = (time, now) => Math.round((dayOf(now) - dayOf(time)) / DAY);

// "Today", "Yesterday", "Tuesday", "3 March 2026".
export function day(time, now) {
  const ago = daysAgo(time, now);
  if (ago === 0) return "Today";
  if (ago === 1) return "Yesterday";
  return ago > 1 && ago < 7 ? weekdayOf.format(time) : dateOf.format(time);
}

// As short as it can be: in the list of conversations.
export function shortTime(time, now) {
  const ago = daysAgo(time, now);
  if (ago === 0) return clock(time);
  return ago < 7 ? day(time, now) : shortDateOf.format(time);
}

export function lastSeen(time, now) {
  const ago = daysAgo(time, now);
  const said = ago < 2 ? day(time, now).toLowerCase() : day(time, now);
  return `last seen ${said} at ${clock(time)}`;
}

// What has become of a message of one's own: queued, sent, delivered, read, refused, unknown.
// mark: what the other one has received and read
export function fate({ state, seq }, mark) {
  if (state !== "sent" || seq > mark.received) return state;
  return seq > mark.read ? "delivered" : "read";
}

const FATES = { refused: "not sent", unknown: "not known whether it was sent" };

// What a person is told of a fate.
export const fateText = (name, reason = "") => `${FATES[name] ?? name}${reason && `: ${reason}`}`;

// The colour of a person's picture, 0 to 359: the same everywhere.
export function hue(name) {
  let sum = 0;
  for (const letter of name) sum = (sum * 31 + letter.codePointAt(0)) % 360;
  return sum;
}
