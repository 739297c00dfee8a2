"""The cursors: `receipts.submitted` → `cursors` and `deliveries`.

One Faust event is all that was fetched of a partition. The agent only hands it over: the decisions are agents/rules/cursors.py,
the partitions agents/receipts. No exception leaves it, since Faust would acknowledge the event all the same.
"""

import logging
from pathlib import Path
from typing import Any

from agents.receipts.outside import Outside
from agents.receipts.pages import add_pages
from agents.receipts.stage import CursorStage
from agents.receipts.vitals import CursorVitals
from agents.settings import WorkerSettings
from connectors.redis.client import RedisUnavailable
from schemas.topics import RECEIPTS
from streams.app import PipelineApp, make_app
from streams.batching import PassSchema
from streams.watchdog import Watchdog

GROUP = "cursors"
_CLAIM_SECONDS = 1.0

log = logging.getLogger(__name__)


def make_cursors(outside: Outside, settings: WorkerSettings) -> PipelineApp:
    """The cursors' Faust app. Call it inside the loop it will run in; await its `closing` after it has stopped."""

    async def go_on(partition: int) -> None:
        await app.consumer.go_on(partition)

    stage = CursorStage(outside, go_on)
    faust_dir = Path(settings.state_dir) / "faust"
    app = make_app(GROUP, settings.kafka, faust_dir, settings.web_port, settings.web_bind, stage, RECEIPTS)

    @app.on_partitions_assigned.connect
    async def assigned(sender: Any, assigned: Any, **options: Any) -> None:
        await stage.assigned({tp.partition for tp in assigned if tp.topic == RECEIPTS})

    @app.agent(app.topic(RECEIPTS, schema=PassSchema(), partitions=settings.partitions), name="cursors")
    async def cursors(stream: Any) -> None:
        async for event in stream.events():
            stage.feed(event.message.partition, event.value)

    @app.timer(_CLAIM_SECONDS)
    async def claim() -> None:
        try:
            await outside.owners.keep(stage.readable(), outside.address)
        except RedisUnavailable as error:
            log.debug("partitions are not claimed now: %s", error)

    watchdog = Watchdog(CursorVitals(app, stage, outside), app.end)

    @app.task
    async def watch() -> None:
        await watchdog.run()

    async def close() -> None:
        await stage.stop()
        await outside.close()

    add_pages(app, stage)
    app.closing = close
    return app
