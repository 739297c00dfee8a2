"""The Faust app of a stage that reads a coalesced topic."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import faust
from faust.exceptions import ConsumerNotStarted
from faust.types import TP

from streams.earlier_positions import PartitionPositions
from streams.faust_adapter.consumer import SCHEME, BatchScheduler
from streams.faust_adapter.monitor import LightMonitor
from streams.faust_adapter.table import LogTableManager

_LOUD = ("faust", "aiokafka", "mode")
_NEVER_SECONDS = 1e9


class PipelineApp(faust.App):
    """A Faust app whose consumer asks `intake` about the partitions of `intake_topic`.

    `ended` is set when the worker must stop by itself; `closing` ends the stage's own clients, if
    any, after the app has stopped.
    """

    kafka: str
    intake: PartitionPositions
    intake_topic: str
    fetch_bytes: int
    ended: asyncio.Event
    closing: Callable[[], Awaitable[None]]

    @property
    def joining(self) -> bool:
        """A rebalance is going on, or the first has not ended."""
        return bool(self.rebalancing or not self.tables.actives_ready)

    def input_end(self, partition: int) -> int | None:
        """The offset after the last known record of an assigned partition of the intake, None if
        not known."""
        tp = TP(self.intake_topic, partition)
        try:
            end = self.consumer.highwater(tp) if tp in self.consumer.assignment() else -1
        except ConsumerNotStarted:
            return None
        return end if end >= 0 else None

    def end(self, reason: str) -> None:
        """Stop this worker: it stands still, and a fresh one is the cure."""
        logging.getLogger(__name__).critical("ending: %s", reason)
        self.ended.set()

    async def on_stop(self) -> None:
        self.ended.set()
        await self.intake.stop()  # here, not in a table's stop: Faust comes to that late, or never
        await super().on_stop()


def make_app(
    name: str,
    kafka: str,
    datadir: Path,
    web_port: int | None,
    web_bind: str,
    intake: PartitionPositions,
    intake_topic: str,
    fetch_bytes: int = 1,
) -> PipelineApp:
    """An app with our settings (kafka.md): dynamic members, dark for about 3 s after a kill, one
    event a batch. Without a `web_port` it has no monitor: the process has one already.
    `fetch_bytes` as `Fetcher` has it."""
    quiet_debug_loggers()
    datadir.mkdir(parents=True, exist_ok=True)
    app = PipelineApp(
        name,
        broker=f"{SCHEME}://{kafka}",
        store="memory://",  # the log-backed table keeps its own state; Faust holds none
        datadir=datadir,
        Monitor=LightMonitor,
        ConsumerScheduler=BatchScheduler,
        TableManager=LogTableManager,
        cython_optimizations=True,
        topic_allow_declare=False,
        topic_disable_leader=True,
        stream_buffer_maxsize=64,
        stream_wait_empty=False,  # or one halted partition would hang every rebalance
        stream_recovery_delay=0.0,
        broker_session_timeout=3.0,
        broker_heartbeat_interval=0.5,
        broker_rebalance_timeout=10.0,
        broker_commit_interval=1.0,
        broker_max_poll_interval=_NEVER_SECONDS,  # nothing polls aiokafka; streams/watchdog.py sees who stands still
        consumer_metadata_max_age_ms=10_000,
        web_enabled=web_port is not None,
        web_bind=web_bind,
        web_host="127.0.0.1",
        web_port=web_port,
        web_stats_enabled=True,
        web_metrics_enabled=True,
    )
    app.kafka = kafka
    app.intake = intake
    app.intake_topic = intake_topic
    app.fetch_bytes = fetch_bytes
    app.ended = asyncio.Event()
    app.closing = _nothing
    return app


async def _nothing() -> None:
    pass


def quiet_debug_loggers() -> None:
    """Faust builds a debug record for every send and drops it in the handler: 11 % of an event's
    cost."""
    for name in _LOUD:
        logging.getLogger(name).setLevel(logging.INFO)
