"""A worker process: makes the outside systems' clients, builds the stages it is told to run, runs
them in one loop, and stops them."""

import asyncio
import gc
import logging
import os
import random
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvloop

from agents.builders import Build, WorkerPorts
from agents.message_traces import TracedSender
from agents.overview import WorkerOverview
from agents.sequencer.snapshot_writer import policy_for
from agents.settings import WorkerSettings
from agents.start_checks import group_member, require_folder, require_port, require_tokens
from connectors.clickhouse.ports import Archive
from connectors.dependency import Dependencies, Dependency
from connectors.environment import SettingsError
from connectors.kafka.admin import TopicsAdmin
from connectors.kafka.cluster import KafkaCluster
from connectors.kafka.start_checks import require_topics
from connectors.kafka.wanted_topics import wanted_topics
from connectors.redis.client import RedisClient
from connectors.redis.fleet import RedisFleet
from connectors.redis.owners import RedisOwners
from connectors.redis.routes import RedisRoutes
from connectors.redis.watchers import RedisWatchers
from connectors.reporter import Reporter
from connectors.tls import ServerTls, server_tls
from connectors.trace_settings import traces_of
from connectors.webhook import HttpEndpoint
from schemas.page_tokens import PageTokens
from streams.faust_adapter.app import MountSettings, StageApp, mount
from streams.inputs import Inputs
from streams.restores import Restores
from streams.slot_sender import SlotSender
from streams.stage import Shared
from streams.tables.rocks import RocksBudget
from streams.watchdog import end_when_blocked
from streams.worker import Worker

log = logging.getLogger(__name__)

_STOP_SECONDS = 8.0
_FLUSH_SECONDS = 2.0
_INSERT_SECONDS = 60.0
PRODUCER = {"linger.ms": 0, "message.timeout.ms": 0, "batch.size": 1024 * 1024}
"""One for all stages. Nothing is given up while Kafka is away (R6): who waits for a report says
so. Nothing lingers: some stage's deliveries wait for each record."""

_WAITS = {
    "kafka": "reading and sending wait",
    "redis": "deliveries wait",
    "clickhouse": "archiving waits",
    "disk": "the tables wait",
}
"""What waits while an outside system is away, for the log."""


def run(settings: WorkerSettings, builders: Sequence[Build]) -> int:
    """Run stages until SIGTERM or SIGINT (0), or until one ends by itself (1). Raises
    SettingsError, TopicsWrong, KafkaUnreachable."""
    wanted = wanted_topics(settings)
    require_folder(settings)
    require_port(settings)
    require_tokens(settings)
    tls = _tls(settings)
    # What lives long here has no cycles; the collector would look at all of it again and again.
    gc.set_threshold(100_000, 50, 100)
    # also for the loop of Faust's consumer thread
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    warnings = require_topics(settings.kafka, wanted, settings.start_seconds)
    admin = TopicsAdmin(settings.kafka, wanted)
    code = asyncio.Runner().run(_run(settings, admin, builders, warnings, tls))
    # Threads of Kafka clients that a dead broker keeps waiting, and tasks that no cancellation
    # ends, must not keep a worker that has said goodbye.
    logging.shutdown()
    os._exit(code)


def _tls(settings: WorkerSettings) -> ServerTls | None:
    try:
        return server_tls(settings.web_certificate, settings.web_key)
    except ValueError as error:
        raise SettingsError(f"MESSENGER_WEB_CERTIFICATE, MESSENGER_WEB_KEY: {error}") from None


class _Ending:
    """Why the process ends, said once."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.code = 0

    def signalled(self) -> None:
        self.event.set()

    def failed(self, why: str) -> None:
        """A part has ended by itself: a fresh process is the cure."""
        if not self.event.is_set():
            log.critical("ending this worker: %s", why)
            self.code = 1
            self.event.set()

    def own(self, task: asyncio.Task[Any], what: str) -> asyncio.Task[Any]:
        """If the task fails, the process ends."""

        def ended(task: asyncio.Task[Any]) -> None:
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("%s failed", what, exc_info=error)
                self.failed(f"{what} failed: {error!r}")

        task.add_done_callback(ended)
        return task


async def _run(
    settings: WorkerSettings,
    admin: TopicsAdmin,
    builders: Sequence[Build],
    warnings: Sequence[str],
    tls: ServerTls | None,
) -> int:
    ending = _Ending()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ending.signalled)
    if tls is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, tls.reload)
    dependencies = Dependencies()
    for name, waits in _WAITS.items():
        dependencies.get(name, waits)
    kafka = KafkaCluster(settings.kafka, admin, dependencies.get("kafka"))
    try:
        redis = RedisClient(settings.redis, dependencies.get("redis"), "the worker's Redis client")
    except ValueError as error:
        raise SettingsError(f"MESSENGER_REDIS: {error}") from None
    ports = _ports(settings, kafka, redis, dependencies)
    specs = [spec for build in builders for spec in build(ports)]
    worker = Worker(specs, ports.shared, ending.failed)
    overview = WorkerOverview(worker, RedisFleet(redis), settings.web_address, ports.shared.now)
    folder = Path(settings.state_dir) / "faust"
    web = MountSettings(
        settings.kafka,
        folder,
        settings.web_bind,
        settings.web_port,
        group_member(Path(settings.state_dir), settings.web_port),
        PageTokens(settings.status_token, settings.messages_token),
        tls.context if tls else None,
    )
    apps = mount(worker, kafka, web, ending.failed)
    worker.start()
    for warning in warnings:  # not before: what keeps it from starting is one line
        log.warning("%s", warning)
    tasks = [
        ending.own(asyncio.create_task(work), what)
        for work, what in (
            (end_when_blocked(), "the guard of the loop"),
            (worker.watch(), "the watchdog"),
            (overview.reporter.run(), "saying how this worker is"),
            (_start(apps), "starting"),
        )
    ]
    await ending.event.wait()
    stopping = asyncio.create_task(_stop(apps, worker, ports, redis, overview.reporter))
    # Faust swallows the cancellation that a timeout would send
    if (await asyncio.wait([stopping], timeout=_STOP_SECONDS))[1]:
        log.warning(
            "stopping took longer than %.0f s; what was under way is in the log", _STOP_SECONDS
        )
    else:
        stopping.result()
    for task in tasks:
        task.cancel()
    return ending.code


def _ports(
    settings: WorkerSettings, kafka: KafkaCluster, redis: RedisClient, dependencies: Dependencies
) -> WorkerPorts:
    shared = Shared(
        Inputs(kafka),
        Restores(),
        dependencies,
        now=lambda: int(time.time() * 1000),
        random=random.random,
    )
    producer = kafka.producer(PRODUCER)
    traces = traces_of(settings, "worker")
    return WorkerPorts(
        settings,
        kafka,
        producer,
        TracedSender(producer, traces) if traces else SlotSender(producer),
        lambda stage: RedisOwners(redis, stage),
        RedisRoutes(redis),
        RedisWatchers(redis),
        lambda: _archive(settings, dependencies.get("clickhouse")),
        RocksBudget(),
        shared,
        policy_for(settings.snapshot_hours),
        lambda: _endpoint(settings),
        traces,
    )


def _archive(settings: WorkerSettings, dependency: Dependency) -> Archive:
    # takes long to import, and most workers have no archive
    from connectors.clickhouse.archive import ClickHouseArchive
    from connectors.clickhouse.client import ClickHouseClient

    try:
        client = ClickHouseClient(settings.clickhouse, _INSERT_SECONDS, dependency)
        return ClickHouseArchive(client)
    except ValueError as error:
        raise SettingsError(f"MESSENGER_CLICKHOUSE: {error}") from None


def _endpoint(settings: WorkerSettings) -> HttpEndpoint:
    try:
        return HttpEndpoint(settings.webhook_url, settings.webhook_public_only)
    except ValueError as error:
        raise SettingsError(f"MESSENGER_WEBHOOK_URL: {error}") from None


async def _start(apps: Sequence[StageApp]) -> None:
    await asyncio.gather(*(app.start() for app in apps))  # each waits for its group


async def _stop(
    apps: Sequence[StageApp],
    worker: Worker,
    ports: WorkerPorts,
    redis: RedisClient,
    reporter: Reporter,
) -> None:
    await asyncio.gather(reporter.leave(), *(app.stop() for app in apps))
    # what is not acknowledged by then is read, and sent, again
    await ports.producer.close(_FLUSH_SECONDS)
    await worker.close()
    await redis.close()
    if ports.traces is not None:
        await asyncio.to_thread(ports.traces.close)
