"""The settings of librdkafka that our clients share."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import KafkaError

from connectors.kafka.client_watch import ClientWatch

log = logging.getLogger(__name__)

NO_GROUP = "unused-assign-only"
"""librdkafka wants a group's name of every consumer; ours are assigned, and commit nothing."""
_STATISTICS_MS = 1000


def log_error(error: KafkaError) -> None:
    """What librdkafka says of its brokers, and goes on trying."""
    log.debug("kafka: %s", error)


def client(servers: str, on_error: Callable[[KafkaError], None]) -> dict[str, Any]:
    """Of every client. `on_error` is called in the thread that polls."""
    return {
        "bootstrap.servers": servers,
        "socket.nagle.disable": True,
        "logger": logging.getLogger("rdkafka"),
        "error_cb": on_error,
    }


def consumer(
    servers: str, watch: ClientWatch | None, conf: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Of a consumer that is assigned partitions; `conf` says what is different. Its statistics go
    to `watch`, once a second, in the thread that polls. They cost some 10 us a partition of the
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
