"""When to try again: exponential backoff with full jitter, so that the devices of a node that
ended do not come back all at once. Times are seconds."""

FIRST_SECONDS = 0.1
LAST_SECONDS = 20.0
_FIRST_RETRY, _LAST_RETRY = 3, 5
LOST_SECONDS = 20.0
"""A question without an answer for so long is asked again: servers answer within half of it."""


def ask_again(failures: int, random: float, first: int = _FIRST_RETRY) -> float:
    """Seconds to wait before a question is asked again that the server could not answer, after 0,
    1, 2 … earlier failures; `random` from [0, 1). As before attempt `first` + `failures`, but at
    most 3.2 s: until the device has what it has missed, it shows nothing new either."""
    return delay(min(first + failures, _LAST_RETRY), random)


def delay(attempt: int, random: float) -> float:
    """Seconds to wait before attempt 0, 1, 2 …; `random` from [0, 1)."""
    return float(random * min(LAST_SECONDS, FIRST_SECONDS * 2.0 ** min(attempt, 16)))
