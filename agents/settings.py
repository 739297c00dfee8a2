"""Settings of a worker process, from the environment."""

from typing import Annotated

from msgspec import Meta, Struct

from connectors.kafka.wanted_topics import Flush, Replication
from schemas.page_tokens import Token

Count = Annotated[int, Meta(ge=1, le=10_000)]
Port = Annotated[int, Meta(ge=1, le=65535)]
Seconds = Annotated[float, Meta(ge=0, le=3600)]


class WorkerSettings(Struct, frozen=True):
    """MESSENGER_KAFKA host:port[,…], MESSENGER_REDIS URL, MESSENGER_STATE_DIR this worker's own
    folder, MESSENGER_WEB_PORT and MESSENGER_WEB_BIND (127.0.0.1: it has no login) its monitor,
    MESSENGER_WEB_HOST the name by which gateways reach it, MESSENGER_PARTITIONS of conversation
    topics, MESSENGER_SLOTS of `deliveries`, MESSENGER_CLICKHOUSE the archiver's
    http://user:password@host:port, MESSENGER_START_SECONDS how long it waits at its start for Kafka
    and its topics, MESSENGER_STATUS_TOKEN and MESSENGER_MESSAGES_TOKEN open its pages
    (schemas/page_tokens.py), MESSENGER_SNAPSHOT_HOURS how often the sequencer writes snapshots, and
    what connectors/kafka/wanted_topics.py asks."""

    kafka: str
    redis: str
    state_dir: str
    web_port: Port = 6066
    web_bind: str = "127.0.0.1"
    web_host: str = "127.0.0.1"
    partitions: Count = 4
    slots: Count = 8
    clickhouse: str = ""
    replication: Replication | None = None
    flush: Flush = "later"
    local: bool = False
    start_seconds: Seconds = 0.0
    status_token: Token = ""
    messages_token: Token = ""
    snapshot_hours: Annotated[float, Meta(gt=0, le=24 * 7)] = 24.0

    @property
    def web_address(self) -> str:
        return f"{self.web_host}:{self.web_port}"
