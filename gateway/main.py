"""The gateway's process: makes the adapters, serves a node over HTTP until it is told to stop."""

import asyncio
import gc
import logging
import random
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager

import uvloop
from aiohttp import web

from connectors.dependency import Dependencies, Dependency
from connectors.environment import SettingsError
from connectors.kafka.admin import TopicsAdmin
from connectors.kafka.cluster import KafkaCluster
from connectors.kafka.start_checks import require_topics
from connectors.kafka.wanted_topics import wanted_topics
from connectors.redis.client import RedisClient
from connectors.redis.fleet import RedisFleet
from connectors.redis.nodes import RedisNodes
from connectors.redis.owners import RedisOwners
from connectors.redis.quotas import RedisQuotas
from connectors.redis.recent import RedisRecentWindows
from connectors.redis.routes import RedisRoutes
from connectors.redis.watchers import RedisWatchers
from connectors.reporter import Reporter
from connectors.tls import client_tls, server_tls
from connectors.trace_settings import traces_of
from gateway.edge.addresses import trusted_networks
from gateway.edge.admission import AdmissionControl
from gateway.edge.http import make_web_app
from gateway.edge.key_set import KeySet, WrongKeySet, reader_of
from gateway.edge.local_guard import browser_guard, is_loopback
from gateway.edge.socket import Sockets
from gateway.edge.tokens import JwtVerifier, Secrets, TokenKeys, TokenRules, TokenVerifier
from gateway.metrics import NodeMetrics
from gateway.node import Node
from gateway.overview import node_reporter
from gateway.owned_tasks import OwnedTasks
from gateway.parts import STAGES, NodePorts
from gateway.probe import Probe
from gateway.queries.worker_transport import HttpWorkerTransport
from gateway.settings import GatewaySettings
from schemas.topics import SUBMITTED

log = logging.getLogger(__name__)

_ARCHIVE_SECONDS = 5.0
"""For one question to the archive."""
_KAFKA_SECONDS = 3.0
"""For one question about topics, while the node runs. A node that is to end waits for the
answer."""
_KEEPALIVE_SECONDS = 20.0
"""A connection without a whole request for so long is closed: less than proxies keep theirs."""
_SHUTDOWN_SECONDS = 2.0
"""For requests that are still under way when the node has drained."""


def run(settings: GatewaySettings) -> int:
    """Run a node until SIGTERM or SIGINT, then drain it; a second signal cuts the drain short.

    Returns 0. Raises TopicsWrong, KafkaUnreachable, SettingsError.
    """
    # Few objects at a time: messages wait while the garbage collector looks at them, and for
    # thousands of new connections it would take 15 ms.
    gc.set_threshold(5_000, 1, 25_000)
    _check_logins(settings)
    wanted = wanted_topics(settings)
    warnings = require_topics(settings.kafka, wanted, settings.start_seconds)
    uvloop.run(_serve(settings, TopicsAdmin(settings.kafka, wanted).ids()[SUBMITTED], warnings))
    return 0


class _Signals:
    """SIGTERM and SIGINT: the first says stop, the second hurry."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        self.hurrying = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.stop)

    def stop(self) -> None:
        if self.stopping.is_set():
            self.hurrying.set()
        self.stopping.set()


async def _serve(settings: GatewaySettings, log_id: str, warnings: Sequence[str]) -> None:
    signals = _Signals()
    with _setting("MESSENGER_TLS_CERTIFICATE, MESSENGER_TLS_KEY"):
        tls = server_tls(settings.tls_certificate, settings.tls_key)
    if tls is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, tls.reload)
    trusted = trusted_networks(settings.trusted_proxies)
    admission = AdmissionControl(browser_guard(settings.local, settings.origins), trusted)
    try:
        listening = await admission.bind(
            settings.http_host, settings.http_port, tls.context if tls else None
        )
    except OSError as error:
        raise SettingsError(f"MESSENGER_HTTP_HOST, MESSENGER_HTTP_PORT: {error}") from None
    async with AsyncExitStack() as closing:
        dependencies = Dependencies()
        tokens = await _verifier(settings, dependencies, closing)
        ports = _ports(settings, log_id, dependencies, tokens, closing)
        node = Node(settings, ports, log_id)
        sockets = Sockets(node, admission.exit, settings.heartbeat)
        probe = None
        if settings.probe_seconds:
            partitions, seconds = settings.partitions, settings.probe_seconds
            probe = Probe(node, ports.routes, ports.archive, partitions, seconds)
        runner = web.AppRunner(
            make_web_app(node, NodeMetrics(node, admission, probe), sockets, signals.stop),
            access_log=None,
            keepalive_timeout=_KEEPALIVE_SECONDS,
            shutdown_timeout=_SHUTDOWN_SECONDS,
        )
        await runner.setup()
        assert runner.server is not None
        node.start()
        reporting = _reporting(settings, node, probe, dependencies, closing)
        await admission.serve(listening, runner.server, sockets)
        log.info("node %s serves %s", node.id, node.parts.urls.own)
        for warning in warnings:
            log.warning("%s", warning)
        if settings.local:
            log.warning("LOCAL MODE: anybody logs in as anybody, without a password")
        await signals.stopping.wait()
        await _drain(node, signals.hurrying)
        await asyncio.gather(reporting.leave(), node.stop())
        await admission.stop(listening)
        await runner.cleanup()


def _reporting(
    settings: GatewaySettings,
    node: Node,
    probe: Probe | None,
    dependencies: Dependencies,
    closing: AsyncExitStack,
) -> Reporter:
    """Begin to say how the node is, and to try whether messages get through."""
    redis = RedisClient(settings.redis, dependencies.get("redis"), "the overview")
    closing.push_async_callback(redis.close)
    reporter = node_reporter(node, RedisFleet(redis), probe)
    tasks = OwnedTasks()
    tasks.start("saying how the node is", reporter.run)
    if probe is not None:
        tasks.start("trying whether messages get through", probe.run)
    closing.push_async_callback(tasks.stop)
    return reporter


async def _drain(node: Node, hurrying: asyncio.Event) -> None:
    draining = asyncio.create_task(node.drain())
    hurried = asyncio.create_task(hurrying.wait())
    await asyncio.wait((draining, hurried), return_when=asyncio.FIRST_COMPLETED)
    for task in (draining, hurried):
        task.cancel()
    await asyncio.gather(draining, hurried, return_exceptions=True)


@contextmanager
def _setting(name: str) -> Iterator[None]:
    """An adapter that refuses the setting's value."""
    try:
        yield
    except ValueError as error:
        raise SettingsError(f"{name}: {error}") from None


def _check_logins(settings: GatewaySettings) -> None:
    """Raises SettingsError for settings with which strangers could log in, or nobody."""
    if settings.local and not is_loopback(settings.http_host):
        raise SettingsError(
            f"MESSENGER_HTTP_HOST: local mode, in which anybody logs in as anybody, listens on"
            f" 127.0.0.1 only, not on {settings.http_host}; unset MESSENGER_LOCAL"
        )
    if settings.token_secret is None and not settings.token_jwks:
        raise SettingsError("not set: MESSENGER_TOKEN_SECRET, or MESSENGER_TOKEN_JWKS")
    users = (settings.token_secret, settings.token_secret_previous)
    if settings.operator_secret is not None and settings.operator_secret in users:
        raise SettingsError("MESSENGER_OPERATOR_SECRET: it must not be a secret of users' tokens")


async def _verifier(
    settings: GatewaySettings, dependencies: Dependencies, closing: AsyncExitStack
) -> TokenVerifier:
    """Raises SettingsError if the key set cannot be read."""
    keys: list[TokenKeys] = []
    if settings.token_jwks:
        health = dependencies.get("the key set", "the last good one is in force")
        try:
            key_set = KeySet(reader_of(settings.token_jwks), settings.token_jwks_seconds, health)
            await key_set.load()
        except (WrongKeySet, OSError, ValueError) as error:
            raise SettingsError(f"MESSENGER_TOKEN_JWKS: {error or type(error).__name__}") from None
        keys.append(key_set)
        reloading = OwnedTasks()
        reloading.start("reading the key set", key_set.run)
        closing.push_async_callback(reloading.stop)
    if settings.token_secret is not None:
        keys.append(Secrets(settings.token_secret, settings.token_secret_previous))
    return JwtVerifier(
        keys,
        TokenRules(
            settings.token_issuer,
            settings.token_audience,
            settings.token_leeway,
            settings.token_device,
        ),
    )


def _ports(
    settings: GatewaySettings,
    log_id: str,
    dependencies: Dependencies,
    tokens: TokenVerifier,
    closing: AsyncExitStack,
) -> NodePorts:
    """The real ones; `closing` closes them."""
    reports_to = dependencies.get("redis", "messages and logins wait")
    with _setting("MESSENGER_REDIS"):
        redis = RedisClient(settings.redis, reports_to, "questions")
        closing.push_async_callback(redis.close)
        # Beside it, so that a node keeps its slot however many questions wait for a connection.
        lease_redis = RedisClient(settings.redis, reports_to, "leases and routes")
        closing.push_async_callback(lease_redis.close)
        # And a third, whose calls are given up early. Its trouble is no problem of the node's.
        recent_redis = RedisClient(settings.redis, Dependency("redis, for recent windows,"))
        closing.push_async_callback(recent_redis.close)
    with _setting("MESSENGER_WORKER_CA"):
        workers = HttpWorkerTransport(settings.messages_token, client_tls(settings.worker_ca))
    closing.push_async_callback(workers.close)
    archive = None
    if settings.clickhouse:
        # takes long to import: a node without an archive does without
        from connectors.clickhouse.archive import ClickHouseArchive
        from connectors.clickhouse.client import ClickHouseClient

        with _setting("MESSENGER_CLICKHOUSE"):
            archive = ClickHouseArchive(
                ClickHouseClient(
                    settings.clickhouse,
                    _ARCHIVE_SECONDS,
                    dependencies.get("clickhouse", "old messages cannot be read"),
                )
            )
        closing.push_async_callback(archive.close)
    traces = traces_of(settings, "gateway")
    if traces is not None:
        closing.callback(traces.close)
    topics = TopicsAdmin(settings.kafka, wanted_topics(settings), _KAFKA_SECONDS)
    return NodePorts(
        KafkaCluster(settings.kafka, topics, dependencies.get("kafka", "messages wait")),
        RedisRoutes(lease_redis),
        RedisNodes(redis),
        RedisWatchers(redis),
        RedisQuotas(redis),
        {stage: RedisOwners(redis, stage) for stage in STAGES},
        RedisRecentWindows(recent_redis, log_id),
        archive,
        workers,
        lambda: int(time.time() * 1000),
        random.SystemRandom(),
        dependencies,
        tokens,
        traces,
    )
