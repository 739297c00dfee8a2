// When to try again, as in the Python SDK: exponential backoff with full jitter, so that the
// devices of a node that ended do not come back all at once. Times are milliseconds.

const FIRST = 100;
const LAST = 20000;
const FIRST_RETRY = 3;
const LAST_RETRY = 5;
export const LOST = 20000; // a question without an answer for so long is asked again

// How long to wait before attempt 0, 1, 2 …; `random` from [0, 1).
export function delay(attempt, random) {
  return random * Math.min(LAST, FIRST * 2 ** Math.min(attempt, 16));
}

// How long to wait before a question is asked again that the server could not answer, after 0, 1, 2
// … earlier failures. At most 3.2 s: until the device has what it has missed, it shows nothing new
// either.
export function askAgain(failures, random, first = FIRST_RETRY) {
  return delay(Math.min(first + failures, LAST_RETRY), random);
}

// The earliest of some times, null if there is none.
export function earliest(times) {
  let first = null;
  for (const at of times) if (at !== null && (first === null || at < first)) first = at;
  return first;
}
