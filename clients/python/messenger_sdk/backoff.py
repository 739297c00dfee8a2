"""When to try again: exponential backoff with full jitter, so that the devices of a node that
ended do not come back all at once. Times are seconds."""

FIRST_SECONDS = 0.1
LAST_SECONDS = 20.0
FIRST_RETRY = 3
"""A question that the server could not answer is asked again as after this many failed attempts."""
LOST_SECONDS = 20.0
"""A question without an answer for so long is asked again: servers answer within half of it."""


def delay(attempt: int, random: float) -> float:
    """Seconds to wait before attempt 0, 1, 2 …; `random` from [0, 1)."""
    return float(random * min(LAST_SECONDS, FIRST_SECONDS * 2.0 ** min(attempt, 16)))
