"""The archiver: `messages` → ClickHouse.

One Faust event is all that was fetched of a partition. The agent only hands it over: the decisions are agents/rules/archive.py,
the partitions agents/archiving. No exception leaves it, since Faust would acknowledge the event all the same.
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from agents.archiving.pages import add_pages
from agents.archiving.source import KafkaSource
from agents.archiving.stage import ArchiverStage
from agents.archiving.vitals import ArchiverVitals
from agents.settings import WorkerSettings
from connectors.clickhouse.archive import Archive
from connectors.kafka.topics import KafkaUnreachable
from schemas.topics import LOG, SUBMITTED
from streams.app import PipelineApp, make_app
from streams.batching import PassSchema
from streams.watchdog import Watchdog

_LOOK_SECONDS = 10.0

log = logging.getLogger(__name__)


def make_archiver(settings: WorkerSettings, archive: Archive, topic_ids: Callable[[], Mapping[str, str]]) -> PipelineApp:
    """The archiver's Faust app. Call it inside the loop it will run in; await its `closing` after it has stopped. Raises
    KafkaUnreachable."""
    began = dict(topic_ids())
    # positions are of one log: another log has another group, and is read from its start
    group = f"archiver-{began[LOG]}"
    source = KafkaSource(settings.kafka, group, began[LOG], topic_ids)

    async def go_on(partition: int) -> None:
        await app.consumer.go_on(partition)

    stage = ArchiverStage(source, archive, go_on)
    app = make_app(group, settings.kafka, Path(settings.state_dir), settings.web_port, settings.web_bind, stage, LOG)

    @app.on_partitions_assigned.connect
    async def assigned(sender: Any, assigned: Any, **options: Any) -> None:
        await stage.assigned({tp.partition for tp in assigned if tp.topic == LOG})

    @app.agent(app.topic(LOG, schema=PassSchema(), partitions=settings.partitions), name="archiver")
    async def archiver(stream: Any) -> None:
        async for event in stream.events():
            stage.feed(event.message.partition, event.value)

    @app.timer(_LOOK_SECONDS)
    async def look() -> None:
        try:
            now = await source.ids()
        except KafkaUnreachable as error:
            log.debug("topics cannot be looked at: %s", error)
            return
        if any(now.get(topic) not in (None, began[topic]) for topic in (LOG, SUBMITTED)):
            app.end("topics were created anew")

    watchdog = Watchdog(ArchiverVitals(app, stage, source), app.end)

    @app.task
    async def watch() -> None:
        await watchdog.run()

    add_pages(app, stage)
    app.closing = archive.close
    return app
