"""Settings of a gateway node, from the environment."""

from typing import Annotated

from msgspec import Meta, Struct

from connectors.kafka.wanted_topics import Flush, Replication
from schemas.page_tokens import Token

Count = Annotated[int, Meta(ge=1, le=10_000)]
Port = Annotated[int, Meta(ge=1, le=65535)]


class GatewaySettings(Struct, frozen=True):
    """One field for each variable MESSENGER_<FIELD> (docs/OPERATIONS.md)."""

    kafka: str
    redis: str
    token_secret: Annotated[str, Meta(min_length=32)]
    """Signs tokens, by HS256."""
    messages_token: Token = ""
    """What workers ask for before they show messages (schemas/page_tokens.py)."""
    status_token: Token = ""
    """What /metrics asks for. Without it, whoever reaches the node sees them."""
    http_host: str = "127.0.0.1"
    http_port: Port = 8400
    partitions: Count = 4
    slots: Count = 8
    local: bool = False
    """Anybody logs in as anybody, and one copy of each record is enough."""
    heartbeat: Annotated[float, Meta(ge=1, le=300)] = 25.0
    """Seconds between pings."""
    frame_rate: Annotated[float, Meta(ge=1)] = 2000.0
    """Frames/s that one device may send for long."""
    clickhouse: str = ""
    """The archive's http://user:password@host:port. Without it, history reaches back as far as the
    log."""
    public_url: str = ""
    """Where devices reach this node; by default http://http_host:http_port."""
    redirect: bool = False
    """Send devices to the right node for their user."""
    drain_seconds: Annotated[float, Meta(ge=0, le=3600)] = 10.0
    """Over how long connections are sent away when the node is to end."""
    replication: Replication | None = None
    """Brokers that keep each record (connectors/kafka/wanted_topics.py)."""
    flush: Flush = "later"
    """always: a record is on a broker's disk before it is acknowledged."""
    start_seconds: Annotated[float, Meta(ge=0, le=3600)] = 0.0
    """How long it waits at its start for Kafka and its topics."""
