"""What a node counts, for Prometheus: every metric is declared here, and read when it is asked
for."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client import Metric as Family
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.registry import Collector

from gateway.edge.admission import AdmissionControl
from gateway.edge.tokens import Why
from gateway.latency import BOUNDS_MS, Latencies
from gateway.node import Node
from gateway.probe import Probe
from schemas.metrics import Metric, number

_PREFIX = "messenger_gateway_"


class _Figure(NamedTuple):
    """A metric that is one number: its name without the prefix, its unit, what it is, and how it is
    read. A counter's name ends in `_total`."""

    name: str
    unit: str
    about: str
    read: Callable[[Node, AdmissionControl], float]

    def metric(self) -> Metric:
        return number(_PREFIX + self.name, self.unit, self.about)


_FIGURES = (
    _Figure(
        "ready", "1 or 0", "1 while devices may come, else 0.", lambda node, _: float(node.ready)
    ),
    _Figure(
        "problems", "lines", "Lines that its health page has.", lambda node, _: len(node.problems())
    ),
    _Figure(
        "connections",
        "devices",
        "Devices that are connected.",
        lambda node, _: node.connections,
    ),
    _Figure(
        "arriving",
        "devices",
        "Devices that are not welcomed yet.",
        lambda node, _: node.parts.greeter.arriving,
    ),
    _Figure(
        "requests_waiting",
        "connections",
        "Connections whose HTTP requests wait for their turn.",
        lambda _, admission: admission.waiting,
    ),
    _Figure(
        "arrivals_turned_away_total",
        "connections",
        "Connections that were told to come again, because too many waited.",
        lambda _, admission: admission.turned_away,
    ),
    _Figure(
        "made_room_total",
        "connections",
        "Sockets without a hello that were closed, because others waited.",
        lambda node, _: node.parts.greeter.made_room,
    ),
    _Figure(
        "quota_refused_total",
        "frames and requests",
        "Sends, receipts and questions beyond what their users may do.",
        lambda node, _: node.parts.quotas.refused,
    ),
    _Figure(
        "slow_readers_total",
        "devices",
        "Devices whose connections were closed because they did not read.",
        lambda node, _: node.parts.writer.slow_readers,
    ),
    _Figure(
        "submitted_total",
        "messages",
        "Messages and refusals that were handed to Kafka.",
        lambda node, _: node.parts.submitter.submitted,
    ),
    _Figure(
        "turned_away_total",
        "messages",
        "Messages and refusals that could not be taken now; their devices try again.",
        lambda node, _: node.parts.submitter.turned_away,
    ),
    _Figure(
        "unacknowledged",
        "records",
        "Records on their way to Kafka.",
        lambda node, _: len(node.parts.producer),
    ),
    _Figure(
        "pushed_total",
        "events",
        "Events that were delivered to this node.",
        lambda node, _: node.parts.pusher.pushed,
    ),
    _Figure(
        "receipts_total",
        "receipts",
        "Receipts that were handed to Kafka.",
        lambda node, _: node.parts.receipts.submitted,
    ),
    _Figure(
        "questions",
        "questions",
        "Questions to workers that are under way.",
        lambda node, _: sum(w.under_way for w in node.parts.queries.workers.values()),
    ),
    _Figure(
        "recent_hits_total",
        "pages",
        "Pages of messages that were read from a window in Redis.",
        lambda node, _: node.parts.queries.recent.hits,
    ),
    _Figure(
        "recent_misses_total",
        "pages",
        "Pages of messages that workers or the archive were asked for.",
        lambda node, _: node.parts.queries.recent.misses,
    ),
    _Figure(
        "recent_fills_total",
        "windows",
        "Windows that were written to Redis anew.",
        lambda node, _: node.parts.queries.recent.written,
    ),
    _Figure(
        "recent_windows",
        "windows",
        "Windows in Redis that this node keeps.",
        lambda node, _: len(node.parts.queries.recent.live),
    ),
    _Figure(
        "recent_bytes",
        "bytes",
        "Messages in these windows.",
        lambda node, _: node.parts.queries.recent.live_bytes,
    ),
)
_REFUSED = number(_PREFIX + "tokens_refused_total", "tokens", "Tokens that were refused.", "why")
_AWAY = number(_PREFIX + "away", "1", "There is one while an outside system is away.", "system")
_DELIVERY = Metric(
    _PREFIX + "delivery_seconds",
    "histogram",
    "seconds",
    "From the broker's append of a send to its push; of each fetch the first message.",
)
_PROBE = Metric(
    _PREFIX + "probe_seconds",
    "histogram",
    "seconds",
    "How long the steps of the node's probe took: send, shown, history, archive.",
    ("step",),
)
_PROBE_FAILED = number(_PREFIX + "probe_failures_total", "probes", "Probes that failed.", "step")
METRICS = (
    *(figure.metric() for figure in _FIGURES),
    _REFUSED,
    _AWAY,
    _DELIVERY,
    _PROBE,
    _PROBE_FAILED,
)
"""All that a node has."""


class NodeMetrics(Collector):
    """The metrics of one node, of its way in, and of its probe, if it has one."""

    def __init__(self, node: Node, admission: AdmissionControl, probe: Probe | None = None) -> None:
        self._node = node
        self._probe = probe
        self._admission = admission
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Family]:
        for figure in _FIGURES:
            kind = CounterMetricFamily if figure.name.endswith("_total") else GaugeMetricFamily
            value = figure.read(self._node, self._admission)
            yield kind(_PREFIX + figure.name, figure.about, value=value)
        refused = CounterMetricFamily(_REFUSED.name, _REFUSED.about, labels=_REFUSED.labels)
        for why in Why:
            refused.add_metric([why.label], self._node.parts.logins.refused[why])
        yield refused
        away = GaugeMetricFamily(_AWAY.name, _AWAY.about, labels=_AWAY.labels)
        for system in self._node.away():
            away.add_metric([system], 1)
        yield away
        yield _histogram(_DELIVERY, [((), self._node.parts.delivery_times)])
        probe = self._probe
        times = probe.times if probe is not None else {}
        yield _histogram(_PROBE, [((step,), took) for step, took in times.items()])
        failed = CounterMetricFamily(
            _PROBE_FAILED.name, _PROBE_FAILED.about, labels=_PROBE_FAILED.labels
        )
        for step in times:
            failed.add_metric([step], probe.failures[step] if probe is not None else 0)
        yield failed


def _histogram(
    metric: Metric, taken: Iterable[tuple[Sequence[str], Latencies]]
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(metric.name, metric.about, labels=metric.labels)
    for labels, latencies in taken:
        family.add_metric(labels, _buckets(latencies), latencies.sum_ms / 1000)
    return family


def _buckets(latencies: Latencies) -> list[tuple[str, float]]:
    """Upper bound → how many were below it."""
    buckets: list[tuple[str, float]] = []
    seen = 0
    for bound, count in zip((*BOUNDS_MS, None), latencies.counts, strict=True):
        seen += count
        buckets.append(("+Inf" if bound is None else str(bound / 1000), seen))
    return buckets
