"""Logging of every process: one line a record, and a rate limit for loud libraries."""

import logging
import time
from collections import Counter

_PER_SECOND = 2
_LIMITED = ("aiokafka", "rdkafka", "faust.transport")


class RateLimit(logging.Filter):
    """Passes a few records a second of each loud logger. aiokafka logs 90 errors a second while a
    broker is away."""

    def __init__(self) -> None:
        super().__init__()
        self._second = 0
        self._seen: Counter[str] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith(_LIMITED):
            return True
        second = int(time.monotonic())
        if second != self._second:
            self._second = second
            self._seen.clear()
        self._seen[record.name] += 1
        return self._seen[record.name] <= _PER_SECOND


def set_up_logging(level: int) -> None:
    """Log records of `level` and above to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.addFilter(RateLimit())
    logging.basicConfig(level=level, handlers=[handler], force=True)
