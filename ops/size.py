"""How much of everything a system needs, from what a message, a login and a connection were
measured to cost. Pure."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

DAY_SECONDS = 86_400
_ROUTE_BYTES = 150
_WINDOWS_BYTES = 128 * 1024**2
"""Of recent messages in Redis, for each gateway at most."""
_RECORD_BYTES = 120
"""What a message takes in Kafka beside its body: ids, key, outbox, offsets."""
_KEPT_DAYS = 7 + 30
"""`messages.submitted` and `messages`; the other topics are kept for minutes, or compacted."""
_COPIES_A_BROKER = 4_000
_TOPICS = 10
_LEAST_BROKERS = 3
_NODE_CONNECTIONS = 50_000


class Demand(NamedTuple):
    """`peak`: how many times the mean there is at the busiest time. `online`: the share of users
    that is connected then. `logins`: of a user, a day. `body`: bytes of a message. `busy`: how full
    a core may be. `days`: how long the archive keeps messages."""

    users: int
    messages_a_day: int
    peak: float = 3.0
    online: float = 0.1
    logins: float = 5.0
    body: int = 100
    busy: float = 0.5
    days: int = 365


class Costs(NamedTuple):
    """Microseconds of a core for a message and for a login, by part; bytes of a connection in a
    gateway, and of a message in the archive beside its body; what one core sequences a second."""

    message: Mapping[str, float]
    login: Mapping[str, float]
    connection_bytes: float
    archived_bytes: float
    sequenced: float


class Need(NamedTuple):
    """Of one part: how many, in words, and why."""

    part: str
    how_many: str
    why: str


def costs_of(results: Mapping[str, Any]) -> Costs:
    """From bench/results/latest.json; of the medians, those at 5,000 messages/s."""
    parts = results["parts"]
    return Costs(
        _us(parts["curve"]["5,000/s"]),
        _us(parts["logins"]["known"]),
        _median(parts["connections"]["kib_per_connection"]) * 1024,
        parts["archive"]["bytes_per_message"],
        _median(parts["sequencer"]["messages_per_worker_cpu_second"]),
    )


def _us(row: Mapping[str, Any]) -> dict[str, float]:
    return {name.removesuffix("-1"): _median(us) for name, us in row["us"].items()}


def _median(value: Any) -> float:
    """The first of (median, least, most)."""
    return float(value[0])


class Sizes(NamedTuple):
    """How many of each."""

    messages: float
    """A second, at the peak."""
    connections: int
    partitions: int
    workers: int
    archivers: int
    gateways: int
    brokers: int
    kafka_cores: float
    kafka_bytes: float
    redis_cores: float
    redis_bytes: float
    clickhouse_cores: float
    clickhouse_bytes: float


def sizes(demand: Demand, costs: Costs) -> Sizes:
    """Worker, archiver and gateway processes have a core each."""
    messages = demand.messages_a_day / DAY_SECONDS * demand.peak
    logins = demand.users * demand.logins / DAY_SECONDS * demand.peak
    connections = math.ceil(demand.users * demand.online)

    def cores(part: str) -> float:
        spent = messages * costs.message.get(part, 0) + logins * costs.login.get(part, 0)
        return spent / 1e6 / demand.busy

    def processes(part: str) -> int:
        return max(2, math.ceil(cores(part)))

    workers = processes("worker")
    least = max(workers, messages / (costs.sequenced * demand.busy))
    partitions = max(8, 2 ** math.ceil(math.log2(least)))
    gateways = max(processes("gateway"), math.ceil(connections / _NODE_CONNECTIONS) + 1)
    copies = partitions * _TOPICS * _LEAST_BROKERS
    kafka_bytes = demand.messages_a_day * (demand.body + _RECORD_BYTES) * _KEPT_DAYS
    redis_bytes = connections * _ROUTE_BYTES + gateways * _WINDOWS_BYTES
    archived = demand.messages_a_day * (demand.body + costs.archived_bytes) * demand.days
    return Sizes(
        messages,
        connections,
        partitions,
        workers,
        processes("archiver"),
        gateways,
        max(_LEAST_BROKERS, math.ceil(copies / _COPIES_A_BROKER)),
        cores("kafka") * _LEAST_BROKERS,
        kafka_bytes * _LEAST_BROKERS,
        cores("redis"),
        redis_bytes,
        cores("clickhouse"),
        archived,
    )


def needs(demand: Demand, costs: Costs) -> Iterator[Need]:
    """What to buy, and what breaks first."""
    it = sizes(demand, costs)
    yield Need("at the peak", f"{it.messages:,.0f} messages/s", f"{demand.peak:g} times the mean")
    yield Need("connections", f"{it.connections:,}", f"{demand.online:.0%} of the users")
    yield Need(
        "partitions",
        f"{it.partitions:,}",
        "MESSENGER_PARTITIONS, for ever: as many as the largest fleet of workers",
    )
    yield Need(
        "workers",
        f"{it.workers:,} of one core",
        "sequencer, cursors, presence, memberships, people",
    )
    yield Need(
        "gateways",
        f"{it.gateways:,} of one core, {_size(it.connections * costs.connection_bytes)} together",
        "MESSENGER_SLOTS: at least so many",
    )
    yield Need("archivers", f"{it.archivers:,} of one core", "")
    yield Need(
        "brokers",
        f"{it.brokers:,} with {it.kafka_cores:,.1f} cores and {_size(it.kafka_bytes)} together",
        "three copies, each counted as the first; 37 days of messages",
    )
    yield Need(
        "Redis",
        f"{max(0.1, it.redis_cores):,.1f} cores, {_size(it.redis_bytes)} of memory",
        "routes, and windows of recent messages",
    )
    yield Need(
        "ClickHouse",
        f"{max(0.1, it.clickhouse_cores):,.1f} cores, {_size(it.clickhouse_bytes)} of disk",
        f"{demand.days} days, bodies as they are",
    )
    for limit in limits(it, demand, costs):
        yield Need("breaks", limit, "")


def limits(it: Sizes, demand: Demand, costs: Costs) -> Iterator[str]:
    """What one of a kind cannot bear, the first to break first."""
    redis = 1e6 * demand.busy / costs.message["redis"]
    if it.messages > redis:
        yield f"Redis is one server with one core at work: full at {redis:,.0f} messages/s"
    if it.partitions > 256:
        yield f"{it.partitions:,} partitions: more than 256 were never tried"
    if it.gateways > 1_000:
        yield f"{it.gateways:,} gateways: every worker keeps a producer's queue for each slot"
    if it.clickhouse_cores > 64:
        yield "ClickHouse is one server: shard it by conversation, or keep less in it"


def _size(count: float) -> str:
    power = min(5, int(math.log10(max(count, 1)) // 3))
    return f"{count / 1000**power:,.1f} {('B', 'KB', 'MB', 'GB', 'TB', 'PB')[power]}"
