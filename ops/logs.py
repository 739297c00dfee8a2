"""Logging of every process: one line a record, and a rate limit for loud libraries."""

import logging
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

import msgspec

_RECORDS, _SECONDS = 2, 10.0
_LIMITED = ("aiokafka", "rdkafka", "faust.transport")


class RateLimit(logging.Filter):
    """Passes a few records of each Kafka library's logger in ten seconds.

    While a broker is away aiokafka logs 90 errors a second. That Kafka is away, and that it is
    back, connectors/dependency.py says.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._until = 0.0
        self._seen: Counter[str] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith(_LIMITED):
            return True
        if self._clock() >= self._until:
            self._until = self._clock() + _SECONDS
            self._seen.clear()
        self._seen[record.name] += 1
        return self._seen[record.name] <= _RECORDS


class JsonLines(logging.Formatter):
    """A JSON object a record: `time` (UTC), `level`, `logger`, `message`, and `error` with the
    traceback if there is one. So one error is one line."""

    def format(self, record: logging.LogRecord) -> str:
        said = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat("T", "milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            said["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(said).decode()


_FORMATS = {
    "text": logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"),
    "json": JsonLines(),
}


def set_up_logging(level: int, form: Literal["text", "json"] = "text") -> None:
    """Log records of `level` and above to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(_FORMATS[form])
    handler.addFilter(RateLimit())
    logging.basicConfig(level=level, handlers=[handler], force=True)
