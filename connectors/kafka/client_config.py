"""The settings of librdkafka that our clients share."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import KafkaError

from connectors.kafka.client_watch import ClientWatch

log = logging.getLogger(__name__)

NO_GROUP = "unused-assign-only"
"""librdkafka requires a group name of every consumer. Our consumers are assigned their partitions
and commit nothing, so Kafka never sees it."""
_STATISTICS_MS = 1000


def log_error(error: KafkaError) -> None:
    """For errors after which librdkafka tries again by itself."""
    log.debug("kafka: %s", error)


def client(servers: str, on_error: Callable[[KafkaError], None]) -> dict[str, Any]:
    """Settings of every client. librdkafka calls `on_error` when the client is polled."""
    return {
        "bootstrap.servers": servers,
        "socket.nagle.disable": True,
        "logger": logging.getLogger("rdkafka"),
        "error_cb": on_error,
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
    }
