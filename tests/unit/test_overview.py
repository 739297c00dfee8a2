"""What reports say of the whole system, and how a process makes them."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents.overview import WorkerOverview
from agents.rules.overview import findings
from connectors.kafka.memory import MemoryKafka
from connectors.kafka.memory_broker import MemoryBroker
from connectors.redis.memory import MemoryFleet
from connectors.redis.memory_server import MemoryRedis, MemoryRedisServer
from connectors.reporter import Meter
from gateway.latency import Latencies
from schemas.fleet import (
    FORGET_SECONDS,
    NodeReport,
    Overview,
    ProbeReport,
    Report,
    Seen,
    StageReport,
)
from streams.stage import StageSpec
from streams.worker import Worker
from streams.worker_api import Request
from tests.harness.stage_run import shared

NOW = 1_000_000


def partition(number: int, status: str = "running", **more: Any) -> dict[str, Any]:
    report = {"partition": number, "status": status, "reason": "", "waiting_for": None, "lag": 0}
    return report | more


def worker(
    *partitions: dict[str, Any], problems: tuple[str, ...] = (), of: int = 1, **away: str
) -> Report:
    stage = StageReport("sequencer", "messages.submitted", of, 0.0, {}, 1, False, [*partitions])
    return Report("worker", "w:1", 0, 0, list(problems), away, {}, [stage])


def gateway(ready: bool = True) -> Report:
    node = NodeReport("aa", 0, ready, 3, {}, {})
    return Report("gateway", "http://g", 0, 0, [], {}, {}, node=node)


def said(*reports: Report, age: float = 0.0, redis: str = "", now: int = NOW) -> list[str]:
    found = findings([Seen(age, report) for report in reports], redis, now)
    return [f"{one.level}: {one.part}: {one.what}; {one.do}" for one in found]


def test_of_a_healthy_system_there_is_nothing_to_say() -> None:
    assert said(worker(partition(0)), gateway()) == []


def test_each_fault_is_said_once_with_what_to_do() -> None:
    halted = partition(0, "halted", reason="the clock is wrong", skips=[3, 4])
    lines = ("sequencer partition 0 is halted: the clock is wrong", "the disk is slow")
    found = said(worker(halted, partition(2), problems=lines, of=3), gateway(ready=False))
    assert found == [
        "problem: sequencer: no worker has partition 1 of 3; "
        "wait for the group; if it lasts, start a worker of this stage",
        "problem: sequencer partition 0: it is halted: the clock is wrong; mend what the reason "
        "names, then `messenger partition resume`, or restart its worker; or `messenger partition "
        "skip`",
        "problem: worker w:1: the disk is slow; ",
        "problem: gateways: none takes devices; look at their /health; start a gateway",
    ]


def test_a_system_that_is_away_is_said_once_whoever_misses_it() -> None:
    waits = partition(0, waiting_for="redis: no answer")
    line = "redis is unreachable for 3.0 s: no answer"
    report = worker(waits, problems=(line,), redis="no answer")
    found = said(report, report, gateway())
    assert [one for one in found if "redis" in one] == [
        "problem: redis: no answer, says w:1 (and 1 more); "
        "look at Redis; until it answers nobody new gets in, then all goes on by itself"
    ]


def test_an_old_report_is_a_dead_process_unless_redis_keeps_it_from_reporting() -> None:
    assert said(gateway(), age=9.0)[0].startswith("problem: gateway http://g: no sign of life")
    assert said(worker(partition(0)), age=9.0)[1].startswith("problem: sequencer: no worker has")
    assert said(gateway(), age=9.0, redis="away") == [
        "note: gateway http://g: its report is 9 s old, since Redis is away; "
    ]


def test_a_probe_that_fails_is_said() -> None:
    failing = gateway()
    assert failing.node is not None
    failing.node.probe = ProbeReport(3, {}, "history: it is not there")
    assert said(failing)[0].startswith(
        "problem: gateway http://g: its probe of partition 3 failed at history: it is not there"
    )


def test_a_clock_that_is_wrong_is_said() -> None:
    (found,) = findings([Seen(0.0, worker(partition(0)), 3.0), Seen(0.0, gateway(), -1.9)], "", NOW)
    assert (found.part, found.what) == ("worker w:1", "its clock is 3.0 s ahead of Redis'")


def test_a_process_that_has_just_begun_and_dead_letters_are_notes() -> None:
    found = said(worker(partition(0, dead_letters=2)), gateway(), now=5000)
    assert found == [
        "note: worker w:1: it began 5 s ago; ",
        "note: gateway http://g: it began 5 s ago; ",
        "note: dead letters: 2 in the last 30 days; see `messenger dead-letters list`",
    ]


def test_a_meter_tells_rates_of_ten_seconds_and_keeps_five_minutes() -> None:
    meter = Meter()
    for tick in range(301):
        meter.sample(tick * 2.0, {"messages": tick * 10}, {"connections": tick})
    assert meter.rates == {"messages": 5.0}
    history = meter.history()
    assert history["messages"][-1] == 5.0
    assert history["connections"] == [float(tick) for tick in range(153, 301, 3)]


async def test_quantiles_are_those_of_the_last_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now, latencies = [0.0], Latencies()
    latencies._clock = lambda: now[0]
    assert latencies.lately() is None
    for milliseconds in [3] * 98 + [400, 99_000]:
        latencies.took(milliseconds)
    lately = latencies.lately()
    assert lately is not None
    assert (lately.count, lately.p50, lately.p95, lately.p99) == (100, 5.0, 5.0, 500.0)
    for _ in range(20):
        now[0] += 5.0
        latencies.lately()
    assert latencies.lately() is None


@pytest.fixture
async def seen(tmp_path: Path) -> AsyncIterator[tuple[WorkerOverview, MemoryFleet, MemoryRedis]]:
    """A worker of one stage without partitions; and the server of its fleet."""
    kafka = MemoryKafka(MemoryBroker({"t": 1}))
    made = Worker([StageSpec("s", "s", "t", 1, _never)], shared(kafka), pytest.fail)
    redis = MemoryRedis(MemoryRedisServer(time.monotonic))
    fleet = MemoryFleet(redis)
    yield WorkerOverview(made, fleet, "here:1", lambda: NOW), fleet, redis
    await made.close()


def _never(*arguments: object) -> Any:
    raise AssertionError


async def test_a_worker_shows_what_all_have_said_and_itself_as_it_is_now(
    seen: tuple[WorkerOverview, MemoryFleet, MemoryRedis],
) -> None:
    overview, fleet, redis = seen
    ahead = msgspec.structs.replace(gateway(), now=round(time.monotonic() * 1000) + 7000)
    await fleet.tell("gateway http://g", msgspec.json.encode(ahead))
    await fleet.tell("worker here:1", msgspec.json.encode(worker()))
    await fleet.tell("worker odd:1", b'{"of": "another version"}')
    await fleet.tell("worker gone:1", msgspec.json.encode(worker()))
    redis.server.tables["fleet"]["worker gone:1"] = (
        -FORGET_SECONDS,
        msgspec.json.encode(worker()),
    )
    shown = await page(overview)
    assert [part.report.address for part in shown.parts] == ["http://g", "here:1"]
    assert 6.5 < shown.parts[0].ahead < 7.5
    assert [stage.name for stage in shown.parts[1].report.stages] == ["s"]
    assert set(redis.server.tables["fleet"]) == {
        "gateway http://g",
        "worker here:1",
        "worker odd:1",
    }


async def test_while_redis_is_away_a_worker_shows_what_was_said_last_and_that_it_is_old(
    seen: tuple[WorkerOverview, MemoryFleet, MemoryRedis],
) -> None:
    overview, fleet, redis = seen
    await fleet.tell("gateway http://g", msgspec.json.encode(gateway()))
    await page(overview)
    redis.server.up = False
    overview._asked_at, overview._heard_at = float("-inf"), overview._heard_at - 30
    shown = await page(overview)
    assert [part.report.address for part in shown.parts] == ["http://g", "here:1"]
    assert shown.parts[0].age >= 30
    assert any("since Redis is away" in one.what for one in shown.findings)


async def page(overview: WorkerOverview) -> Overview:
    answer = await overview._page(Request("/overview/"))
    return msgspec.json.decode(answer.body, type=Overview)
