"""The settings of librdkafka that our clients share."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import KafkaError

from connectors.kafka.address import KafkaAddress
from connectors.kafka.client_watch import ClientWatch

log = logging.getLogger(__name__)

NO_GROUP = "unused-assign-only"
"""librdkafka requires a group name of every consumer. Our consumers are assigned their partitions
and commit nothing, so Kafka never sees it."""
_STATISTICS_MS = 1000

# Decision 38 says which figures these come from.
ANSWER_MS = 4000
"""A broker that has owed an answer for so long counts as gone, and its connection is closed. It
must be longer than a broker may keep a fetch without records, and longer than SILENT_SECONDS by the
second between two statistics: a new connection owes nothing yet, and hides that the broker is
silent."""
_ACKNOWLEDGED_MS = 2000
"""How long a broker may wait for the others to have a record before it says that they do not. It
must be below ANSWER_MS, or a broker that lacks the others would count as gone itself."""
_RECONNECT_MS = 1000
"""The longest wait before a broker that could not be reached is tried again."""
_LEADERS_MS = 1000
"""How often a client of several brokers asks which leads what. One whose leader stands still, and
does not close its connections, learns of the next leader by this."""


def log_error(error: KafkaError) -> None:
    """For errors after which librdkafka tries again by itself."""
    log.debug("kafka: %s", error)


def client(servers: str, on_error: Callable[[KafkaError], None]) -> dict[str, Any]:
    """Settings of every client. librdkafka calls `on_error` when the client is polled."""
    return {
        **KafkaAddress.parse(servers).librdkafka(),
        "socket.nagle.disable": True,
        "socket.timeout.ms": ANSWER_MS,
        "socket.connection.setup.timeout.ms": ANSWER_MS,
        "reconnect.backoff.max.ms": _RECONNECT_MS,
        **_leaders(servers),
        "logger": logging.getLogger("rdkafka"),
        "error_cb": on_error,
    }


def producer(servers: str, on_error: Callable[[KafkaError], None]) -> dict[str, Any]:
    """Settings of an idempotent producer whose records all replicas in step must have."""
    return {
        **client(servers, on_error),
        "acks": "all",
        "enable.idempotence": True,
        "request.timeout.ms": _ACKNOWLEDGED_MS,
        "retry.backoff.max.ms": _RECONNECT_MS,
    }


def consumer(
    servers: str, watch: ClientWatch | None, conf: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Settings of a consumer that is assigned its partitions; `conf` overrides them. Once a second
    a poll gives its statistics to `watch`, which costs some 10 us for each partition of the
    topic."""
    watched = (
        {}
        if watch is None
        else {
            "statistics.interval.ms": _STATISTICS_MS,
            "stats_cb": watch.statistics,
        }
    )
    return {
        **client(servers, log_error if watch is None else watch.error),
        **watched,
        "group.id": NO_GROUP,
        "enable.auto.commit": False,
        "auto.offset.reset": "error",
        "fetch.min.bytes": 1,
        "fetch.wait.max.ms": 500,
        "fetch.queue.backoff.ms": 1,
        "fetch.error.backoff.ms": 20,
        **(conf or {}),
        **_leaders(servers),
    }


def _leaders(servers: str) -> dict[str, int]:
    """One broker leads everything whenever it is there."""
    return {"topic.metadata.refresh.interval.ms": _LEADERS_MS} if "," in servers else {}
