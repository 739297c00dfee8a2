"""The sequencer: `messages.submitted` → `messages` and `deliveries`.

One Faust event is all that was fetched of a partition. The agent only hands it over: the decisions
are agents/rules, the partitions agents/sequencer. No exception leaves it, since Faust would
acknowledge the event all the same.
"""

import time
from pathlib import Path
from typing import Any

from agents.claims import CLAIM_SECONDS, keep_claims
from agents.sequencer.io import SequencerIO
from agents.sequencer.pages import add_pages
from agents.sequencer.progress import SequencerProgress
from agents.sequencer.stage import SequencerStage
from agents.settings import WorkerSettings
from schemas.topics import LOG, SUBMITTED
from streams.earlier_watchdog import Watchdog
from streams.faust_adapter.app import PipelineApp, make_app
from streams.faust_adapter.consumer import PassSchema
from streams.faust_adapter.table import LogTable

GROUP = "sequencer"
_WRITE_SECONDS = 1.0
_LOOK_SECONDS = 10.0


def make_sequencer(outside: SequencerIO, settings: WorkerSettings) -> PipelineApp:
    """The sequencer's Faust app. Call it inside the loop it will run in; await its `closing` after
    it has stopped."""
    partitions = settings.partitions

    async def go_on(partition: int) -> None:
        await app.consumer.go_on(partition)

    stage = SequencerStage(partitions, outside, go_on, now=lambda: int(time.time() * 1000))
    faust_dir = Path(settings.state_dir) / "faust"
    app = make_app(
        GROUP, settings.kafka, faust_dir, settings.web_port, settings.web_bind, stage, SUBMITTED
    )
    app.tables.add(
        LogTable(
            app,
            on_assigned=stage.assigned,
            seq=stage.seq,
            name="sequences",
            key_type=bytes,
            value_type=bytes,
            partitions=partitions,
            changelog_topic=app.topic(
                LOG, key_type=bytes, value_type=bytes, partitions=partitions, acks=False
            ),
        )
    )

    @app.agent(app.topic(SUBMITTED, schema=PassSchema(), partitions=partitions), name="sequencer")
    async def sequencer(stream: Any) -> None:
        async for event in stream.events():
            stage.feed(event.message.partition, event.value)

    @app.timer(_WRITE_SECONDS)
    async def write() -> None:
        stage.write()

    @app.timer(_LOOK_SECONDS)
    async def look() -> None:
        await stage.look()

    @app.timer(CLAIM_SECONDS)
    async def claim() -> None:
        await keep_claims(outside.owners, stage.readable(), outside.address)

    watchdog = Watchdog(SequencerProgress(app, stage, outside), app.end)

    @app.task
    async def watch() -> None:
        await watchdog.run()

    add_pages(app, stage)
    app.closing = outside.close
    return app
