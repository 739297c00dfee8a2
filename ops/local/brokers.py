"""The brokers of a local stack's Kafka: where each listens, and its server.properties."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

COUNTS = (1, 3)
"""Two would be no safer than one: two of them must agree on everything."""
_PORTS = (8, 9), (26, 27), (29, 30)
"""Of each broker and its controller, after the stack's base port."""

KEPT_FETCH_MS = 500
"""How long an active controller keeps a fetch of another one to which it has nothing to answer. It
is a constant of Kafka."""
_FETCH_TIMEOUT_MS, _APART_MS = 1000, 200
"""How long a controller waits for the answer before it wants to be elected: the first broker's, and
each further one's more. With the same time they miss the active one in the same moment, both vote
for themselves, and wait 0.5 to 1 s for nothing (decision 68)."""


class Broker(NamedTuple):
    """A broker with its controller, in one process. `number` is Kafka's node id; `folder` has its
    data."""

    name: str
    number: int
    port: int
    controller: int
    folder: Path

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def formatted(self) -> Path:
        """The file that a data folder has once it is formatted."""
        return self.folder / "data" / "meta.properties"


def brokers(home: Path, base_port: int, count: int) -> list[Broker]:
    """The brokers of the stack whose data is in `home`."""
    names = ["kafka"] if count == 1 else [f"kafka-{number}" for number in range(1, count + 1)]
    return [
        Broker(name, number, base_port + port, base_port + controller, home / name)
        for number, (name, (port, controller)) in enumerate(zip(names, _PORTS, strict=False), 1)
    ]


def addresses(base_port: int, count: int) -> str:
    """Where clients find the brokers, as MESSENGER_KAFKA has it."""
    return ",".join(broker.address for broker in brokers(Path(), base_port, count))


_PROPERTIES = """\
process.roles=broker,controller
node.id={broker.number}
controller.quorum.voters={voters}
listeners={listener}://{broker.address},CONTROLLER://127.0.0.1:{broker.controller}
advertised.listeners={listener}://{broker.address}
controller.listener.names=CONTROLLER
log.dirs={broker.folder}/data
auto.create.topics.enable=false
message.max.bytes=8388608
replica.fetch.max.bytes=8388608
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1500
num.network.threads=1
num.io.threads=1
background.threads=2
group.coordinator.threads=1
share.coordinator.threads=1
group.coordinator.rebalance.protocols=classic
metadata.max.idle.interval.ms=10000
replica.high.watermark.checkpoint.interval.ms=30000
metric.reporters=
log.cleaner.dedupe.buffer.size=16777216
offsets.topic.num.partitions=4
"""

_ALONE = """\
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=1000
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
"""

_ONE_OF_THREE = """\
broker.session.timeout.ms=1500
broker.heartbeat.interval.ms=300
controller.quorum.fetch.timeout.ms={fetch_timeout}
controller.quorum.election.timeout.ms=500
controller.quorum.election.backoff.max.ms=500
controller.quorum.request.timeout.ms=1000
controller.socket.timeout.ms=2000
replica.lag.time.max.ms=5000
replica.fetch.backoff.ms=100
replica.socket.timeout.ms=2000
default.replication.factor=3
min.insync.replicas=2
offsets.topic.replication.factor=3
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
"""
"""Decision 38 says why these times."""


def kafka_properties(broker: Broker, cluster: Sequence[Broker], security: str = "") -> str:
    """The server.properties of a broker of `cluster`; with `security`, clients speak SASL_SSL."""
    voters = ",".join(f"{one.number}@127.0.0.1:{one.controller}" for one in cluster)
    timeout = _FETCH_TIMEOUT_MS + _APART_MS * (broker.number - 1)
    shared = _ALONE if len(cluster) == 1 else _ONE_OF_THREE.format(fetch_timeout=timeout)
    listener = "SASL_SSL" if security else "PLAINTEXT"
    properties = _PROPERTIES.format(broker=broker, voters=voters, listener=listener)
    return properties + shared + security
