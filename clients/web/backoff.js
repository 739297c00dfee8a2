// When to try again: exponential backoff with full jitter, so that a node's devices do not return all at once.

const LAST = 20000; // ms

export function backoff(first, failures) {
  return Math.random() * Math.min(LAST, first * 2 ** Math.min(failures, 10));
}
