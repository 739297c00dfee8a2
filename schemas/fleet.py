"""What each process says of itself every other second, and what all of that says of the system: for
the overview page of every worker and for `messenger status`."""

from typing import Any, Literal

from msgspec import Struct

HISTORY_SECONDS = 6.0
"""Between two points of a history."""
HISTORY_POINTS = 50
FRESH_SECONDS = 6.0
"""A process whose report is older than this has missed two: it is dead, or stands still."""
CLOCK_SECONDS = 2.0
"""By how much clocks may differ before somebody is told."""
FORGET_SECONDS = 600.0
"""A process that has said nothing for so long is not shown any more."""


class StageReport(Struct):
    """A stage on one worker. `of`: how many partitions its topic has. `rate`: what it does a
    second, over the last ten. `figures` since the start. `partitions`: as the worker's page
    /partitions/ has them."""

    name: str
    topic: str
    of: int
    rate: float
    figures: dict[str, int]
    rebalances: int
    rebalancing: bool
    partitions: list[dict[str, Any]]


class Latency(Struct):
    """Of the last minute, in ms: quantiles, and of how many. `p50` and the others are upper bounds
    of the histogram's buckets."""

    count: int
    p50: float
    p95: float
    p99: float


class ProbeReport(Struct):
    """What came of a node's last probe, in a conversation of `partition`: step → ms that it took.
    `failed`: the step that failed, and why; empty if none did."""

    partition: int
    took: dict[str, float]
    failed: str = ""


class NodeReport(Struct):
    """A gateway node. `rates`: what it does a second, over the last ten. `figures` since its
    start. `delivery`: from the broker's append of a send to its push here. `probe`: None while it
    is off."""

    id: str
    slot: int | None
    ready: bool
    connections: int
    rates: dict[str, float]
    figures: dict[str, int]
    delivery: Latency | None = None
    probe: ProbeReport | None = None


class Report(Struct):
    """One process. `address`: host:port of a worker's pages, or the URL of a gateway. `began` in
    ms; `now`: when the report was made. `away`: outside systems that it does not reach, and why.
    `history`: name → a value each HISTORY_SECONDS, the newest last."""

    kind: Literal["worker", "gateway"]
    address: str
    began: int
    now: int
    problems: list[str]
    away: dict[str, str]
    history: dict[str, list[float]]
    stages: list[StageReport] = []
    node: NodeReport | None = None


class Seen(Struct):
    """A report, how many seconds old it is, and by how many the clock of its process is ahead of
    Redis'."""

    age: float
    report: Report
    ahead: float = 0.0


class Finding(Struct):
    """Something that an operator should know: `what` is the case with `part`, and what to `do`. A
    `problem` needs somebody; a `note` does not."""

    level: Literal["problem", "note"]
    part: str
    what: str
    do: str = ""


class Overview(Struct):
    """The whole system, as the worker at `by` knows it at `now` (ms)."""

    now: int
    by: str
    parts: list[Seen]
    findings: list[Finding]
