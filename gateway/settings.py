"""Settings of a gateway node, from the environment."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from connectors.kafka.wanted_topics import Flush, Replication
from connectors.trace_settings import Share
from schemas.page_tokens import Token

Count = Annotated[int, Meta(ge=1, le=10_000)]
Secret = Annotated[str, Meta(min_length=32)]
Port = Annotated[int, Meta(ge=1, le=65535)]


class GatewaySettings(Struct, frozen=True):
    """One field for each variable MESSENGER_<FIELD> (docs/SETTINGS.md)."""

    kafka: str
    """Brokers, `host:port[,…]`. Name several: any of them may be away at a start. With logins:
    `kafkas://user:password@host:port[,…]?ca=FILE`, by SCRAM-SHA-512 over TLS; FILE is the PEM file
    of who signed the brokers' certificates, that of the machine if it is left out."""
    redis: str
    """`redis[s]://[user:password@]host:port/db`; with rediss, `?ssl_ca_certs=FILE` names who signed
    its certificate."""
    token_secret: Secret | None = None
    """Signs login tokens, by HS256. This, or MESSENGER_TOKEN_JWKS, or both must be set: there is no
    default that a stranger does not know, too."""
    token_secret_previous: Secret | None = None
    """Tokens of this secret still count: set it while MESSENGER_TOKEN_SECRET is replaced, so that
    nobody is logged out."""
    token_jwks: str = ""
    """The public keys of whoever issues tokens: the path or the https address of a JWKS. Unset:
    there are only secrets."""
    token_jwks_seconds: Annotated[float, Meta(ge=1, le=3600)] = 60.0
    """Seconds between two looks at the key set; sooner, if a token names a key that it lacks. So
    long a key that was taken out of it still counts. Issuers bear one question a minute."""
    token_issuer: str = ""
    """What `iss` of a token must be. Unset: any, since the keys say already whose it is."""
    token_audience: str = ""
    """What `aud` of a token must be or hold. Unset: no token may have one, since it is for
    others."""
    token_leeway: Annotated[float, Meta(ge=0, le=300)] = 10.0
    """Seconds by which the issuer's clock may differ from this node's. Clocks that are kept by NTP
    differ by less."""
    token_device: bool = False
    """Every token must name its device. Without it, the token of a device that was logged out is
    useless only if it names one; not every issuer knows devices."""
    operator_secret: Secret | None = None
    """Signs operators' tokens, by HS256; another one than users'. Unset: no operator's request is
    taken."""
    messages_token: Token = ""
    """Opens all pages of workers, those with messages, too; at least 32 characters. A gateway asks
    with it, and nobody else should have it."""
    worker_ca: str = ""
    """PEM file of who signed the workers' certificates. With it a gateway asks workers by TLS only,
    and checks that the certificate is good for the worker's MESSENGER_WEB_HOST. Unset: it asks by
    plain HTTP, for workers on a network that nobody else is on."""
    status_token: Token = ""
    """Opens the workers' pages without bodies of messages, and a gateway's `/metrics`; at least 32
    characters. Unset: whoever reaches them sees them."""
    http_host: str = "127.0.0.1"
    """Where it listens: on no other machine, unless the operator says so."""
    http_port: Port = 8400
    """The port on which it listens. Those of a local stack begin there."""
    tls_certificate: str = ""
    """PEM file with the certificate that devices see, and its chain. Without it the node speaks
    plain HTTP, for a proxy before it."""
    tls_key: str = ""
    """PEM file with its key. SIGHUP reads both again."""
    partitions: Count = 4
    """Of the conversation topics, for ever: choose as many as the largest fleet of workers will
    ever be (docs/OPERATIONS.md). 4 suit a few machines. A local stack keeps its number in the file
    `partitions` of its home."""
    slots: Count = 8
    """Partitions of `deliveries`, the most gateway nodes that there can be. Each costs every worker
    a little, so there are not more than a small fleet needs."""
    local: bool = False
    """Anybody logs in as anybody, and one copy of each record is enough. Never in production. A
    gateway then listens on this machine only, and answers 403 to a foreign Host or Origin."""
    heartbeat: Annotated[float, Meta(ge=1, le=300)] = 25.0
    """Seconds between pings. Routers forget a silent connection after 30 s and more."""
    frame_rate: Annotated[float, Meta(ge=1)] = 2000.0
    """Frames/s that one device may send for long. Nobody who types comes near; a device that sends
    its outbox after a journey does. What all devices of a user on a node send beyond a tenth of it
    is read a little at a time, and users take turns. A frame counts as often as what it causes
    is dear (docs/BOUNDS.md)."""
    trusted_proxies: str = ""
    """Networks of the proxies before this node, `10.0.0.0/8[,…]`: only from there the header
    X-Forwarded-For counts, because anybody can write it. Unset: a client is who has connected."""
    origins: str = ""
    """Origins of web pages that may reach this node beside its own, `https://chat.example.org[,…]`;
    others get 403. Unset: all may, since a page has no token that it was not given."""
    user_sends: Annotated[float, Meta(ge=1)] = 2000.0
    """Sends and receipts a second of one user for long, on all devices and nodes together; 20
    seconds' worth at once, so that a device may send 10,000 messages that were written offline. As
    many as one device may: an honest user with several does not send more."""
    user_openings: Annotated[float, Meta(ge=1)] = 5000.0
    """Sends an hour of one user that may begin a conversation or an outbox: each makes rows in the
    sequencer's state. After a restart a device begins with all of its conversations, so there are
    as many as the largest list of them."""
    user_questions: Annotated[float, Meta(ge=1)] = 250.0
    """What one user may ask a second for long, in pages of history; 20 seconds' worth at once, so
    that no device is refused that catches up with 5,000 conversations. What is beyond a tenth of
    it takes turns with what others ask beyond theirs."""
    user_devices: Annotated[int, Meta(ge=1)] = 100
    """Devices of one user that are connected at once, on all nodes together: each gets every
    message, and may leave 1 MiB unread."""
    policy: Literal["everyone", "known", "contacts", "requests"] = "everyone"
    """Who may write to whom, if the recipient has not blocked them. `everyone`: each user to any
    id, since an application may have users who come later. `known`: to whoever has logged in once
    (else 131). `contacts`: to whoever has the sender as a contact (else 133). `requests`: a
    stranger sends one message, and more once they are accepted (else 134). All gateways need the
    same."""
    user_requests: Annotated[int, Meta(ge=1)] = 8
    """HTTP requests of one user that are under way on a node at once; as many as a socket has
    questions."""
    change_seconds: Annotated[float, Meta(ge=0, le=7 * 86_400)] = 86_400.0
    """So long after it was sent a message may be edited or deleted for everybody. A day is enough
    for whoever finds a mistake; what people have read long ago should not change under them. 7 days
    at most, because pages find changes in the log."""
    clickhouse: str = ""
    """The archive's `http[s]://user:password@host:port`, as user `gateway` or, for the archiver,
    `archiver`; with https, `?ca=FILE` names who signed its certificate. A gateway without it has
    history as far as the log reaches."""
    public_url: str = ""
    """Where devices reach this node; by default http[s]://http_host:http_port."""
    redirect: bool = False
    """Send devices to the right node for their user. It needs a `public_url` of each node that
    devices reach, which a node cannot know by itself."""
    drain_seconds: Annotated[float, Meta(ge=0, le=3600)] = 10.0
    """Over how many seconds connections are sent away when the node is to end: so the other nodes
    take them in one by one, and a deployment is not held up for long."""
    replication: Replication | None = None
    """Brokers that keep each record. Unset: 3, as the topic files say; 1 in local mode."""
    flush: Flush = "later"
    """`always`: a record is on a broker's disk before it is acknowledged. `later`: the operating
    system writes it, which is enough while another broker has it, too."""
    probe_seconds: Annotated[float, Meta(ge=0, le=3600)] = 15.0
    """Seconds between two tries to send a message, read it back and find it in the archive
    (docs/OPERATIONS.md). So often an idle stack of one machine spends 0.6 % of a core on it; every
    5 s took 1.8 %. 0: never."""
    log_format: Literal["text", "json"] = "text"
    """How a process writes its log to stderr: lines for people, or a JSON object a line for
    programs (docs/OPERATIONS.md)."""
    traces: str = ""
    """Where an OpenTelemetry collector takes traces by OTLP over HTTP,
    `http[s]://host:4318/v1/traces`. Unset: nothing is traced."""
    traces_share: Share = 0.001
    """Of all messages that are traced; the same in all processes. One in a thousand shows what is
    slow, and costs less than can be measured."""
    start_seconds: Annotated[float, Meta(ge=0, le=3600)] = 0.0
    """Seconds that it waits at its start for Kafka to answer and for topics that are missing. 0:
    15 s for Kafka, and not for topics. Who restarts processes that end needs no more."""

    @property
    def url(self) -> str:
        """Where devices reach this node."""
        scheme = "https" if self.tls_certificate else "http"
        return self.public_url or f"{scheme}://{self.http_host}:{self.http_port}"
