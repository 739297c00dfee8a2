"""What the log and the health pages say of an outside system."""

import threading

import pytest

from connectors.dependency import Dependencies, Dependency


class _Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_an_outage_is_two_lines_however_often_it_is_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = _Clock()
    kafka = Dependency("kafka", clock, "deliveries wait")
    kafka.succeeded()
    for _ in range(800):
        kafka.failed("all brokers are down")
        clock.now += 0.02
    assert kafka.problem() == "kafka is unreachable for 16.0 s: all brokers are down"
    for _ in range(800):
        kafka.succeeded()
    assert kafka.problem() is None
    assert _lines(caplog) == [
        "kafka is unreachable: all brokers are down; deliveries wait",
        "kafka is reachable again after 16.0 s",
    ]


def test_one_client_that_gets_through_does_not_hide_another_that_does_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = _Clock()
    kafka = Dependency("kafka", clock)
    kafka.succeeded("reader")
    kafka.failed("the reader: timed out", "reader")
    kafka.failed("the producer: timed out", "producer")
    kafka.succeeded("producer")
    clock.now += 3
    kafka.succeeded("producer")
    assert kafka.problem() == "kafka is unreachable for 3.0 s: the reader: timed out"
    kafka.succeeded("reader")
    assert kafka.problem() is None
    assert _lines(caplog) == [
        "kafka is unreachable: the reader: timed out",
        "kafka is reachable again after 3.0 s",
    ]


def test_of_a_system_that_never_answered_it_is_said_at_once_and_said_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = _Clock()
    archive = Dependency("clickhouse", clock, "old messages cannot be read")
    archive.failed("connection refused")
    clock.now += 3
    archive.succeeded()
    archive.failed("no answer")
    archive.succeeded()
    assert _lines(caplog) == [
        "clickhouse is unreachable so far: connection refused; old messages cannot be read",
        "clickhouse is reachable after 3.0 s",
        "clickhouse is unreachable: no answer; old messages cannot be read",
        "clickhouse is reachable again after 0.0 s",
    ]


def test_reports_come_from_many_threads(caplog: pytest.LogCaptureFixture) -> None:
    redis = Dependency("redis")
    redis.succeeded()

    def report(client: str) -> None:
        for _ in range(500):
            redis.failed("refused", client)
            redis.succeeded(client)

    threads = [threading.Thread(target=report, args=(str(n),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert redis.problem() is None
    lines = _lines(caplog)
    assert len(lines) % 2 == 0
    assert all("unreachable" in line for line in lines[::2])
    assert all("reachable again" in line for line in lines[1::2])


def test_a_process_lists_the_problems_of_all() -> None:
    everything = Dependencies(_Clock())
    redis, kafka = everything.get("redis"), everything.get("kafka")
    assert everything.get("redis") is redis
    assert everything.problems() == []
    kafka.failed("all brokers are down")
    assert everything.problems() == ["kafka is unreachable for 0.0 s: all brokers are down"]
