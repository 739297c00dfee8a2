"""Logging: loud libraries are held back, ours never."""

import logging

from ops.logs import RateLimit


def records(name: str, count: int) -> list[logging.LogRecord]:
    return [logging.LogRecord(name, logging.ERROR, "", 0, "away", None, None) for _ in range(count)]


def test_loud_libraries_are_held_back() -> None:
    limit = RateLimit()
    assert 1 <= sum(map(limit.filter, records("aiokafka.cluster", 500))) <= 4
    assert sum(map(limit.filter, records("agents.sequencing.partition", 500))) == 500
