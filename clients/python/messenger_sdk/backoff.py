"""When to come back: exponential backoff with full jitter, so that a node's devices do not return
all at once."""

FIRST_SECONDS = 0.1
LAST_SECONDS = 20.0


def delay(attempt: int, random: float) -> float:
    """Seconds to wait before attempt 0, 1, 2 …; `random` from [0, 1)."""
    return float(random * min(LAST_SECONDS, FIRST_SECONDS * 2.0 ** min(attempt, 16)))
