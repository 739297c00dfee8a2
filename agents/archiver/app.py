"""The archiver: `messages` and `cursors` → ClickHouse, by a Faust app for each.

One Faust event is all that was fetched of a partition. The agent only hands it over: the decisions
are agents/rules/archive.py, the partitions agents/archiver. No exception leaves it, since Faust
would acknowledge the event all the same.
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from agents.archiver.budget import Budget
from agents.archiver.content import CURSORS, MESSAGES, Content
from agents.archiver.pages import add_pages
from agents.archiver.progress import ArchiverProgress
from agents.archiver.source import KafkaSource
from agents.archiver.stage import ArchiverStage
from agents.settings import WorkerSettings
from connectors.clickhouse.archive import Archive
from connectors.kafka.ports import KafkaUnreachable
from schemas.topics import SUBMITTED
from streams.earlier_watchdog import Watchdog
from streams.faust_adapter.app import PipelineApp, make_app
from streams.faust_adapter.consumer import PassSchema

_LOOK_SECONDS = 10.0
_FETCH_BYTES = 256 * 1024
"""Nobody waits for the archive, and reading each message as it comes would cost more than all the
rest."""

TopicIds = Callable[[], Mapping[str, str]]

log = logging.getLogger(__name__)


def make_archiver(
    settings: WorkerSettings, archive: Archive, topic_ids: TopicIds
) -> list[PipelineApp]:
    """The archiver's Faust apps; the first has the monitor. Call it inside the loop they will run
    in; await their `closing`, in reverse order, after they have stopped. Raises
    KafkaUnreachable."""
    began, budget = dict(topic_ids()), Budget()
    (app, stage), *others = [
        _make(content, port, settings, archive, budget, began, topic_ids)
        for content, port in ((MESSAGES, settings.web_port), (CURSORS, None))
    ]
    add_pages(app, [(app, stage), *others])
    app.closing = archive.close
    return [app, *(other for other, _ in others)]


def _make(
    content: Content[Any],
    web_port: int | None,
    settings: WorkerSettings,
    archive: Archive,
    budget: Budget,
    began: Mapping[str, str],
    topic_ids: TopicIds,
) -> tuple[PipelineApp, ArchiverStage]:
    topic = content.topic
    # positions are of one topic id: a topic created anew has another group, and is read from its
    # start
    group = f"archiver-{began[topic]}"
    source = KafkaSource(settings.kafka, group, topic, began[topic], topic_ids)

    async def go_on(partition: int) -> None:
        await app.consumer.go_on(partition)

    stage = ArchiverStage(content, source, archive, budget, go_on)
    folder = Path(settings.state_dir) / topic
    app = make_app(
        group, settings.kafka, folder, web_port, settings.web_bind, stage, topic, _FETCH_BYTES
    )

    @app.on_partitions_assigned.connect
    async def assigned(sender: Any, assigned: Any, **options: Any) -> None:
        await stage.assigned({tp.partition for tp in assigned if tp.topic == topic})

    @app.agent(
        app.topic(topic, schema=PassSchema(), partitions=settings.partitions), name="archiver"
    )
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
        if any(now.get(name) not in (None, began[name]) for name in (topic, SUBMITTED)):
            app.end("topics were created anew")

    watchdog = Watchdog(ArchiverProgress(app, stage, source), app.end)

    @app.task
    async def watch() -> None:
        await watchdog.run()

    return app, stage
