"""Settings of a gateway node, from the environment."""

from typing import Annotated

from msgspec import Meta, Struct

Count = Annotated[int, Meta(ge=1, le=10_000)]
Port = Annotated[int, Meta(ge=1, le=65535)]


class GatewaySettings(Struct, frozen=True):
    """MESSENGER_KAFKA, MESSENGER_REDIS, MESSENGER_TOKEN_SECRET (HS256, at least 32 bytes),
    MESSENGER_HTTP_HOST and _PORT, MESSENGER_PARTITIONS, MESSENGER_SLOTS, MESSENGER_LOCAL=1 (anybody
    logs in as anybody), MESSENGER_HEARTBEAT seconds between pings, MESSENGER_FRAME_RATE frames/s
    that one device may send for long, MESSENGER_DRAIN_SECONDS over which sessions are sent away
    when the node is told to end, MESSENGER_CLICKHOUSE the archive's http://user:password@host:port
    (without it, history reaches back as far as the log), MESSENGER_PUBLIC_URL where devices reach
    this node (its own http://host:port by default), MESSENGER_REDIRECT=1 to send devices to the
    right node for their user."""

    kafka: str
    redis: str
    token_secret: Annotated[str, Meta(min_length=32)]
    http_host: str = "127.0.0.1"
    http_port: Port = 8400
    partitions: Count = 4
    slots: Count = 8
    local: bool = False
    heartbeat: Annotated[float, Meta(ge=1, le=300)] = 25.0
    frame_rate: Annotated[float, Meta(ge=1)] = 2000.0
    clickhouse: str = ""
    public_url: str = ""
    redirect: bool = False
    drain_seconds: Annotated[float, Meta(ge=0, le=3600)] = 10.0
