"""What a worker says for Prometheus: its report (schemas/fleet.py) as metrics."""

from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from schemas.fleet import Report, StageReport
from schemas.metrics import Metric, number

_PREFIX = "messenger_worker_"
_PARTITION = "stage", "partition"


def _metric(name: str, unit: str, about: str, *labels: str) -> Metric:
    return number(_PREFIX + name, unit, about, *labels)


_PROBLEMS = _metric("problems", "lines", "Lines that its health page has.")
_AWAY = _metric("away", "1", "There is one while an outside system is away.", "system")
_PARTITIONS = _metric(
    "partitions", "partitions", "How many a stage's topic has, on whatever workers.", "stage"
)
_REBALANCES = _metric("rebalances_total", "rebalances", "Of a stage's group.", "stage")
_WORK = _metric(
    "done_total",
    "facts",
    "What a stage has counted since the start, by the name of the figure.",
    "stage",
    "figure",
)
_RUNNING = _metric(
    "partition_running", "1 or 0", "1 while a partition that is here runs, else 0.", *_PARTITION
)
_HALTED = _metric(
    "partition_halted", "1 or 0", "1 while a partition waits for an operator, else 0.", *_PARTITION
)
_LAG = _metric("lag", "records", "Records that a partition has not done.", *_PARTITION)
_SNAPSHOT = _metric(
    "snapshot_age_seconds", "seconds", "Of a partition's newest snapshot.", "partition"
)
_DEAD = _metric(
    "dead_letters", "records", "Dead letters of a partition that Kafka keeps.", "partition"
)
METRICS = (
    _PROBLEMS,
    _AWAY,
    _PARTITIONS,
    _REBALANCES,
    _WORK,
    _RUNNING,
    _HALTED,
    _LAG,
    _SNAPSHOT,
    _DEAD,
)
"""All that a worker has."""

Values = Iterable[tuple[Iterable[object], float]]
"""The labels of each, and its value."""


def metrics_text(report: Report) -> bytes:
    """All metrics in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(report))
    return generate_latest(registry)


class _Collected(Collector):
    def __init__(self, report: Report) -> None:
        self._report = report

    def collect(self) -> Iterator[Any]:
        for metric, values in _values(self._report).items():
            kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            family = kind(metric.name, metric.about, labels=metric.labels)
            for labels, value in values:
                family.add_metric([str(label) for label in labels], value)
            yield family


def _values(report: Report) -> dict[Metric, Values]:
    stages = report.stages
    owned = [(stage, one) for stage in stages for one in stage.partitions]
    places = [((stage.name, one["partition"]), one) for stage, one in owned]
    snapshots = [
        ((one["partition"],), age)
        for _, one in owned
        if (age := (one.get("snapshot") or {}).get("age_seconds")) is not None
    ]
    dead = [
        ((one["partition"],), letters)
        for _, one in owned
        if (letters := one.get("dead_letters")) is not None
    ]
    return {
        _PROBLEMS: [((), len(report.problems))],
        _AWAY: [((system,), 1) for system in report.away],
        _PARTITIONS: [((stage.name,), stage.of) for stage in stages],
        _REBALANCES: [((stage.name,), stage.rebalances) for stage in stages],
        _WORK: [pair for stage in stages for pair in _figures(stage)],
        _RUNNING: [(place, one["status"] == "running") for place, one in places],
        _HALTED: [(place, one["status"] == "halted") for place, one in places],
        _LAG: [(place, one["lag"]) for place, one in places if one["lag"] is not None],
        _SNAPSHOT: snapshots,
        _DEAD: dead,
    }


def _figures(stage: StageReport) -> Iterator[tuple[tuple[str, str], float]]:
    for figure, value in stage.figures.items():
        yield (stage.name, figure), value
