"""The settings of librdkafka that our clients share."""

import logging
from collections.abc import Mapping
from typing import Any

from connectors.kafka.client_watch import ClientWatch

NO_GROUP = "unused-assign-only"
"""librdkafka wants a group's name of every consumer; ours are assigned, and commit nothing."""
_STATISTICS_MS = 1000


def client(servers: str, watch: ClientWatch | None) -> dict[str, Any]:
    """Of every client. Its statistics go to `watch`, once a second, in the thread that polls."""
    conf: dict[str, Any] = {
        "bootstrap.servers": servers,
        "socket.nagle.disable": True,
        "logger": logging.getLogger("rdkafka"),
    }
    if watch is not None:
        conf |= {
            "statistics.interval.ms": _STATISTICS_MS,
            "stats_cb": watch.statistics,
            "error_cb": watch.error,
        }
    return conf


def consumer(
    servers: str, watch: ClientWatch | None, conf: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Of a consumer that is assigned partitions; `conf` says what is different."""
    return {
        **client(servers, watch),
        "group.id": NO_GROUP,
        "enable.auto.commit": False,
        "auto.offset.reset": "error",
        "fetch.min.bytes": 1,
        "fetch.wait.max.ms": 500,
        "fetch.queue.backoff.ms": 1,
        "fetch.error.backoff.ms": 20,
        **(conf or {}),
    }
