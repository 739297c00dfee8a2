"""Settings of a worker process, from the environment."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from connectors.kafka.wanted_topics import Flush, Replication
from connectors.trace_settings import Share
from schemas.page_tokens import Token

Count = Annotated[int, Meta(ge=1, le=10_000)]
Port = Annotated[int, Meta(ge=1, le=65535)]
Seconds = Annotated[float, Meta(ge=0, le=3600)]


class WorkerSettings(Struct, frozen=True):
    """One field for each variable MESSENGER_<FIELD> (docs/SETTINGS.md)."""

    kafka: str
    redis: str
    state_dir: str
    """This worker's own folder. What is in it comes again from Kafka if it is lost."""
    web_port: Port = 6066
    """Of its pages. Faust's own default."""
    web_bind: str = "127.0.0.1"
    """Where it listens for them: on no other machine, unless the operator says so. On
    another address it does not start without the two tokens, but for local mode."""
    web_host: str = "127.0.0.1"
    """The host by which gateways reach them."""
    partitions: Count = 4
    slots: Count = 8
    clickhouse: str = ""
    replication: Replication | None = None
    flush: Flush = "later"
    local: bool = False
    log_format: Literal["text", "json"] = "text"
    traces: str = ""
    traces_share: Share = 0.001
    start_seconds: Seconds = 0.0
    status_token: Token = ""
    messages_token: Token = ""
    web_certificate: str = ""
    """PEM file with the certificate of its pages, good for MESSENGER_WEB_HOST, and its chain. With
    it they are served by TLS only; gateways need MESSENGER_WORKER_CA."""
    web_key: str = ""
    """PEM file with its key. SIGHUP reads both again."""
    snapshot_hours: Annotated[float, Meta(gt=0, le=24 * 7)] = 24.0
    """Of the sequencer: how old the newest snapshot of a partition becomes before the next is
    written. The log keeps 30 days, so with one a day 29 tries may fail."""

    notification_text: Annotated[int, Meta(ge=0, le=1000)] = 0
    """Of the notifier: so many characters of a message go along with its notification. None by
    default: what people write stays out of one more topic, and out of the systems behind it."""

    webhook_url: str = ""
    """Of the webhook: the endpoint that is called, http:// or https://."""
    webhook_secret: str = ""
    """Of the webhook: what signs the calls, `whsec_` and 24 to 64 bytes in base64. Several with
    spaces between: each signs, so that one can be replaced."""
    webhook_public_only: bool = False
    """Of the webhook: call no address of this machine or of a private network, whatever the URL's
    name resolves to. Off, since most endpoints are the operator's own."""

    @property
    def web_address(self) -> str:
        return f"{self.web_host}:{self.web_port}"
