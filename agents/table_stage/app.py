"""The Faust app of a folding stage: one Faust event is all that was fetched of a partition, and is
only handed over.

No exception leaves the agent, since Faust would acknowledge the event all the same.
"""

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from agents.claims import CLAIM_SECONDS, keep_claims
from agents.settings import WorkerSettings
from agents.table_stage.io import TableStageIO
from agents.table_stage.partition import Partition
from agents.table_stage.progress import TableStageProgress
from agents.table_stage.stage import TableStage
from agents.worker_api import add_health, joining, reports
from streams.earlier_stage import GoOn
from streams.earlier_watchdog import Watchdog
from streams.faust_adapter.app import PipelineApp, make_app
from streams.faust_adapter.consumer import PassSchema
from streams.rates import Rates

Kept = TypeVar("Kept", bound=Partition[Any])


def make_folding_app(
    name: str,
    topic: str,
    outside: TableStageIO,
    make: Callable[[int, Counter[str], GoOn], Kept],
    settings: WorkerSettings,
    partitions: int,
) -> tuple[PipelineApp, TableStage[Kept]]:
    """The app of stage `name`, which reads `topic`, with pages `/health/` and `/{name}/`, and the
    stage.

    Call it inside the loop it will run in; await the app's `closing` after it has stopped.
    """

    async def go_on(partition: int) -> None:
        await app.consumer.go_on(partition)

    stage = TableStage(outside, make, go_on)
    faust_dir = Path(settings.state_dir) / "faust"
    app = make_app(
        name, settings.kafka, faust_dir, settings.web_port, settings.web_bind, stage, topic
    )

    @app.on_partitions_assigned.connect
    async def assigned(sender: Any, assigned: Any, **options: Any) -> None:
        await stage.assigned({tp.partition for tp in assigned if tp.topic == topic})

    @app.agent(app.topic(topic, schema=PassSchema(), partitions=partitions), name=name)
    async def agent(stream: Any) -> None:
        async for event in stream.events():
            stage.feed(event.message.partition, event.value)

    @app.timer(CLAIM_SECONDS)
    async def claim() -> None:
        await keep_claims(outside.owners, stage.readable(), outside.address)

    watchdog = Watchdog(TableStageProgress(app, stage), app.end)

    @app.task
    async def watch() -> None:
        await watchdog.run()

    _add_pages(app, name, stage)
    app.closing = outside.close
    return app, stage


def _add_pages(app: PipelineApp, name: str, stage: TableStage[Any]) -> None:
    rates = Rates()

    add_health(app, lambda: [*joining(app), *stage.unhealthy()])

    @app.page(f"/{name}/")
    async def page(web: Any, request: Any) -> Any:
        """Figures since start, facts/s since the last look, and each partition's state, position
        and lag in records."""
        partitions = reports(app, stage.partitions.values())
        figures = {
            figure: stage.figures[figure]
            for figure in ("facts", "changed", "told", "unreadable", "events")
        }
        rate = rates.since_last(figures["facts"], time.monotonic())
        return web.json(
            {
                **figures,
                "facts_per_second": rate,
                "rebalancing": bool(app.rebalancing),
                "partitions": partitions,
            }
        )
