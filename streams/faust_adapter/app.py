"""A worker's stages on Faust apps: one app and one group a stage, and one web server for all of
them, which the first app has.

Faust keeps the group, commits, and serves the monitor. The records come through streams/intake.py,
the endpoints from streams/worker_api.py, and the timers run without Faust: nothing of ours that
raises can crash it. If Faust itself crashes, the process ends.
"""

import logging
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import faust
from faust.auth import SASLCredentials
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.types import TP

from connectors.kafka.address import MECHANISM, KafkaAddress
from connectors.kafka.ports import Kafka
from schemas.page_tokens import PageTokens
from streams.faust_adapter.consumer import SCHEME, StageStream
from streams.faust_adapter.monitor import LightMonitor, Offsets
from streams.faust_adapter.pages import serve
from streams.intake import Intake
from streams.stage import HEARTBEATS, Stage
from streams.worker import Worker

log = logging.getLogger(__name__)

_LOUD = ("faust", "aiokafka", "mode")
_NEVER_SECONDS = 1e9

Ended = Callable[[str], None]


class MountSettings(NamedTuple):
    """`servers` as MESSENGER_KAFKA has them; `folder` for what Faust keeps; where the web server
    listens, and which tokens its pages ask for; `member`, this process's name in its groups, which
    no other living one has; `tls`, by which the pages are served if it is given."""

    servers: str
    folder: Path
    web_bind: str
    web_port: int
    member: str
    tokens: PageTokens = PageTokens()
    tls: ssl.SSLContext | None = None


class StageApp(faust.App):
    """The Faust app of a stage. `ended` is called with a text when it has stopped by itself."""

    stage: Stage[Any]
    make_intake: Callable[[], Intake]
    ended: Ended
    confirmed_at = float("-inf")
    """When the heartbeat was sent that the group has acknowledged last, by the monotonic clock."""

    @property
    def joining(self) -> bool:
        """A rebalance is going on, or the first has not ended."""
        return bool(self.rebalancing or not self.tables.actives_ready)

    def _crash(self, reason: BaseException) -> None:
        super()._crash(reason)
        self.ended(f"Faust crashed: {reason!r}")

    async def on_stop(self) -> None:
        self.ended("Faust has stopped")
        await self.stage.stop()  # here, not in a table's stop: Faust comes to that late, or never
        await super().on_stop()


class _NoRecovery(Recovery):
    def need_recovery(self) -> bool:
        return False


class NoTables(TableManager):
    """Faust's `TableManager` setting: rebalances as usual, nothing to recover. Stages restore their
    partitions themselves: Faust knows no snapshots, swallows exceptions in recovery, and would
    begin with nothing and say nothing."""

    @property
    def recovery(self) -> Recovery:
        recovery: Recovery | None = self.__dict__.get("_recovery")
        if recovery is None:
            recovery = self._recovery = _NoRecovery(
                self.app, self, beacon=self.beacon, loop=self.loop
            )
        return recovery

    async def on_start(self) -> None:
        """Without the second in which Faust waits for tables to be made: there are none."""
        await self._update_channels()
        await self.recovery.start()


def mount(worker: Worker, kafka: Kafka, settings: MountSettings, ended: Ended) -> list[StageApp]:
    """An app for each stage of the worker. Call it inside the loop they will run in; stop them in
    reverse order."""
    for name in _LOUD:  # Faust builds a debug record for every send: 11 % of an event's cost
        logging.getLogger(name).setLevel(logging.INFO)
    apps = [
        _app(stage, kafka, settings, ended, has_web=stage is worker.stages[0])
        for stage in worker.stages
    ]
    apps[0].monitor.offsets = lambda: _offsets(worker)
    serve(apps[0], worker.api, settings.tokens)
    return apps


def _offsets(worker: Worker) -> Iterator[Offsets]:
    for stage in worker.stages:
        for number, owned in stage.partitions.items():
            read = owned.committable if owned.next_offset is None else owned.next_offset
            if owned.seen is not None and read is not None:
                # what has come since the last look is read, too
                yield Offsets(TP(stage.spec.topic, number), read, max(read, owned.seen.end))


def _app(
    stage: Stage[Any], kafka: Kafka, settings: MountSettings, ended: Ended, has_web: bool
) -> StageApp:
    spec, address = stage.spec, KafkaAddress.parse(settings.servers)
    folder = settings.folder / spec.name
    folder.mkdir(parents=True, exist_ok=True)
    app = StageApp(
        spec.group,
        broker=f"{SCHEME}://{address.servers}",
        broker_credentials=_credentials(address),
        store="memory://",
        datadir=folder,
        Monitor=LightMonitor,
        Stream=StageStream,
        TableManager=NoTables,
        topic_allow_declare=False,
        topic_disable_leader=True,
        stream_buffer_maxsize=64,
        stream_wait_empty=False,  # or one halted partition would hang every rebalance
        stream_recovery_delay=0.0,
        broker_session_timeout=spec.session_seconds,
        broker_heartbeat_interval=spec.session_seconds / HEARTBEATS,
        broker_rebalance_timeout=10.0,
        broker_request_timeout=15.0,  # longer than a rebalance, in which requests wait
        broker_commit_interval=1.0,
        broker_max_poll_interval=_NEVER_SECONDS,  # nothing polls aiokafka; see streams/watchdog.py
        consumer_metadata_max_age_ms=60_000,
        consumer_group_instance_id=settings.member,
        web_enabled=has_web,
        web_bind=settings.web_bind,
        web_host="127.0.0.1",
        web_port=settings.web_port,
        web_ssl_context=settings.tls,
        web_stats_enabled=False,  # streams/faust_adapter/pages.py gives them another path
        web_metrics_enabled=True,
    )
    app.stage = stage
    app.make_intake = lambda: Intake(lambda: kafka.fetcher(spec.topic, spec.fetch), stage)
    app.ended = ended
    stage.membership = lambda: (app.rebalancing_count, app.joining)
    stage.confirmed_at = lambda: app.confirmed_at

    async def seek(partition: int) -> None:
        await app.consumer.seek_stage(partition)

    stage.seek = seek
    stage.renew = lambda: app.consumer.renew()

    @app.on_partitions_assigned.connect
    async def assigned(sender: Any, assigned: Any, **options: Any) -> None:
        partitions = {tp.partition for tp in assigned if tp.topic == spec.topic}
        await stage.assigned(partitions, app.consumer_generation_id)

    # No exception leaves the agent: Faust would acknowledge the event all the same.
    @app.agent(app.topic(spec.topic, partitions=spec.partitions), name=spec.name)
    async def agent(stream: Any) -> None:
        async for event in stream.events():
            for records in event.value:
                stage.feed(records[0].partition, records)

    return app


def _credentials(address: KafkaAddress) -> SASLCredentials | None:
    """How Faust's own client, aiokafka, logs in."""
    if not address.user:
        return None
    return SASLCredentials(
        username=address.user,
        password=address.password,
        ssl_context=address.aiokafka()["ssl_context"],
        mechanism=MECHANISM,
    )
