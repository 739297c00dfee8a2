"""Logging: loud libraries are held back; what happens often is said now and then, with how
often."""

import asyncio
import json
import logging
from datetime import datetime

import pytest

from gateway.log_throttle import LogThrottle
from ops.logs import RateLimit, set_up_logging
from tests.harness.virtual import virtual_time


def records(name: str, count: int) -> list[logging.LogRecord]:
    return [logging.LogRecord(name, logging.ERROR, "", 0, "away", None, None) for _ in range(count)]


def test_loud_libraries_are_held_back() -> None:
    now = 100.0
    limit = RateLimit(lambda: now)
    for _ in range(3):
        assert sum(map(limit.filter, records("aiokafka.cluster", 500))) == 2
        assert sum(map(limit.filter, records("aiokafka.conn", 500))) == 2
        assert sum(map(limit.filter, records("agents.sequencer.partition", 500))) == 500
        now += 10


def test_an_error_is_one_line_of_json_with_its_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = logging.getLogger().handlers
    set_up_logging(logging.INFO, "json")
    try:
        try:
            raise ValueError("no\nlines")
        except ValueError:
            logging.getLogger("agents.x").exception("it %s", "failed")
        logging.getLogger("agents.x").info("well")
    finally:
        logging.basicConfig(handlers=before, force=True)
    error, well = map(json.loads, capsys.readouterr().err.splitlines())
    assert (error["level"], error["logger"], error["message"]) == ("ERROR", "agents.x", "it failed")
    assert "ValueError: no\nlines" in error["error"]
    assert set(well) == {"time", "level", "logger", "message"}
    assert datetime.fromisoformat(well["time"]).tzinfo is not None


@virtual_time
async def test_what_happens_often_is_said_at_once_and_then_summed_up() -> None:
    lines: list[str] = []
    often = LogThrottle(lines.append, 0.05)
    for number in range(1000):
        often(f"away {number}")
    assert lines == ["away 0"]
    await asyncio.sleep(0.08)
    assert lines == ["away 0", "away 999 (the last of 999 such in 0.05 s)"]
    often("away again")
    await asyncio.sleep(0.06)
    assert lines[2:] == ["away again (the last of 1 such in 0.05 s)"]
    await asyncio.sleep(0.12)
    often("much later")
    assert lines[3:] == ["much later"]
