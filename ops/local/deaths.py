"""What the supervisor tells Kafka when a process of the stack has ended: whoever waits for the end
of its session need not.

Every command that looks at a local stack imports this module, so it does not import Kafka's
protocol, which takes long. The supervisor calls `prepare` for that.
"""

import contextlib
import importlib
from collections.abc import Collection, Sequence
from pathlib import Path

from agents.start_checks import known_member
from connectors.kafka.ports import KafkaUnreachable
from ops.local.brokers import Broker

_OTHERS_FIRST_SECONDS = 3.0
"""How long a broker stays away. Its start takes more than two cores for seconds, and the others and
all clients need them to go on."""
_PROTOCOL = "connectors.kafka.broker_leaving", "connectors.kafka.group_leaving"


def prepare() -> None:
    """Import what the others need: after a death everybody waits for it."""
    for module in _PROTOCOL:
        importlib.import_module(module)


async def worker_died(kafka: str, state: Path, port: int, groups: Collection[str]) -> float:
    """Other workers take over its partitions. Returns how many seconds its next start may wait."""
    from connectors.kafka.group_leaving import leave

    member = known_member(state, port)
    if member is not None:
        with contextlib.suppress(KafkaUnreachable):
            await leave(kafka, member, groups)
    return 0.0


async def broker_died(kafka: str, broker: Broker, cluster: Sequence[Broker]) -> float:
    """Other brokers lead what it led, and wait for it with no record. If they cannot, since too few
    are there, it is needed at once. Returns how many seconds its next start may wait."""
    from connectors.kafka.broker_leaving import unregister

    others = [("127.0.0.1", one.controller) for one in cluster if one is not broker]
    if others:
        with contextlib.suppress(KafkaUnreachable):
            await unregister(broker.number, others, kafka)
            return _OTHERS_FIRST_SECONDS
    return 0.0
