// When to try again, as in the Python SDK: exponential backoff with full jitter, so that the devices of a
// node that ended do not come back all at once. Times are milliseconds.

const FIRST = 100;
const LAST = 20000;
export const FIRST_RETRY = 3; // a question that the server could not answer is asked again as after so many attempts
export const LOST = 20000; // a question without an answer for so long is asked again

// How long to wait before attempt 0, 1, 2 …; `random` from [0, 1).
export function delay(attempt, random) {
  return random * Math.min(LAST, FIRST * 2 ** Math.min(attempt, 16));
}

// The earliest of some times, null if there is none.
export function earliest(times) {
  let first = null;
  for (const at of times) if (at !== null && (first === null || at < first)) first = at;
  return first;
}
