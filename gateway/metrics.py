"""What a node counts, for Prometheus: every metric is declared here, and read when it is asked
for."""

from collections.abc import Iterator
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from gateway.edge.admission import AdmissionControl
from gateway.edge.tokens import Why
from gateway.node import Node

_PREFIX = "messenger_gateway_"


class _Value(NamedTuple):
    """A metric's name without the prefix, what it is, and its value now. A counter's name ends in
    `_total`."""

    name: str
    help: str
    value: float


class NodeMetrics(Collector):
    """The metrics of one node, and of its way in."""

    def __init__(self, node: Node, admission: AdmissionControl) -> None:
        self._node = node
        self._admission = admission
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        for name, text, value in self._values():
            kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            yield kind(_PREFIX + name, text, value=value)
        refused = CounterMetricFamily(
            _PREFIX + "tokens_refused_total", "Tokens that were refused.", labels=["why"]
        )
        for why in Why:
            refused.add_metric([why.label], self._node.parts.logins.refused[why])
        yield refused

    def _values(self) -> list[_Value]:
        node, parts, admission = self._node, self._node.parts, self._admission
        asking = sum(workers.under_way for workers in parts.queries.workers.values())
        recent = parts.queries.recent
        return [
            _Value("ready", "1 while devices may come, else 0.", float(node.ready)),
            _Value("connections", "Devices that are connected.", len(parts.registry)),
            _Value("arriving", "Devices that are not welcomed yet.", parts.greeter.arriving),
            _Value(
                "requests_waiting",
                "Connections whose HTTP requests wait for their turn.",
                admission.waiting,
            ),
            _Value(
                "arrivals_turned_away_total",
                "Connections that were told to come again, because too many waited.",
                admission.turned_away,
            ),
            _Value(
                "made_room_total",
                "Sockets without a hello that were closed, because others waited.",
                parts.greeter.made_room,
            ),
            _Value(
                "quota_refused_total",
                "Sends, receipts and questions beyond what their users may do.",
                parts.quotas.refused,
            ),
            _Value(
                "slow_readers_total",
                "Devices whose connections were closed because they did not read.",
                parts.writer.slow_readers,
            ),
            _Value(
                "submitted_total",
                "Messages and refusals that were handed to Kafka.",
                parts.submitter.submitted,
            ),
            _Value(
                "turned_away_total",
                "Messages and refusals that Kafka did not take; their devices try again.",
                parts.submitter.turned_away,
            ),
            _Value("unacknowledged", "Records on their way to Kafka.", len(parts.producer)),
            _Value("pushed_total", "Events that were delivered to this node.", parts.pusher.pushed),
            _Value(
                "receipts_total", "Receipts that were handed to Kafka.", parts.receipts.submitted
            ),
            _Value("questions", "Questions to workers that are under way.", asking),
            _Value(
                "recent_hits_total",
                "Pages of messages that were read from a window in Redis.",
                recent.hits,
            ),
            _Value(
                "recent_misses_total",
                "Pages of messages that workers or the archive were asked for.",
                recent.misses,
            ),
            _Value(
                "recent_fills_total", "Windows that were written to Redis anew.", recent.written
            ),
            _Value("recent_windows", "Windows in Redis that this node keeps.", len(recent.live)),
            _Value("recent_bytes", "Messages in these windows, in bytes.", recent.live_bytes),
        ]
