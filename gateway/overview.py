"""What a node says of itself, for the overview page of the workers."""

from connectors.redis.fleet import Fleet
from connectors.reporter import Counts, Meter, Reporter
from gateway.node import Node
from gateway.probe import SEND, Probe
from schemas.fleet import NodeReport, Report


def node_reporter(node: Node, fleet: Fleet, probe: Probe | None) -> Reporter:
    """Its process is the node's URL: a node that begins at the same URL takes the place of the
    earlier one."""
    url, parts, began = node.parts.urls.own, node.parts, node.now()

    def figures() -> dict[str, int]:
        return {
            "submitted": parts.submitter.submitted,
            "pushed": parts.pusher.pushed,
            "turned_away": parts.submitter.turned_away,
            "slow_readers": parts.writer.slow_readers,
            "unacknowledged": len(parts.producer),
        }

    def counts() -> tuple[Counts, Counts]:
        seen, latency = figures(), parts.delivery_times.lately()
        counters = {name: seen[name] for name in ("submitted", "pushed")}
        return counters, {
            "connections": node.connections,
            "delivery": latency.p99 if latency is not None else 0.0,
            "probe": last.took.get(SEND, 0.0) if probe and (last := probe.last) else 0.0,
        }

    def build(meter: Meter) -> Report:
        said = NodeReport(
            node.id,
            node.slot,
            node.ready,
            node.connections,
            meter.rates,
            figures(),
            parts.delivery_times.lately(),
            probe.last if probe is not None else None,
        )
        return Report(
            "gateway",
            url,
            began,
            node.now(),
            node.problems(),
            node.away(),
            meter.history(),
            node=said,
        )

    return Reporter(fleet, f"gateway {url}", build, counts)
