"""The archiver's pages in the Faust web monitor."""

import time
from collections.abc import Sequence
from typing import Any

from agents.archiver.stage import ArchiverStage
from agents.worker_api import add_health, joining, reports
from streams.earlier_rates import Rates
from streams.faust_adapter.app import PipelineApp


def add_pages(shown_by: PipelineApp, stages: Sequence[tuple[PipelineApp, ArchiverStage]]) -> None:
    """`/health/` and `/archiver/`, of all stages of this worker."""
    rates = {stage.topic: Rates() for _, stage in stages}

    def problems() -> list[str]:
        return [
            f"{stage.topic}: {problem}" for app, stage in stages for problem in joining(app)
        ] + [problem for _, stage in stages for problem in stage.unhealthy()]

    add_health(shown_by, problems)

    @shown_by.page("/archiver/")
    async def archiver(web: Any, request: Any) -> Any:
        """By topic: figures since start, rows/s since the last look; state, position and lag in
        records of each partition."""
        return web.json(
            {stage.topic: _report(app, stage, rates[stage.topic]) for app, stage in stages}
        )


def _report(app: PipelineApp, stage: ArchiverStage, rates: Rates) -> dict[str, Any]:
    figures = stage.figures
    return {
        "rows": figures["rows"],
        "inserts": figures["inserts"],
        "records": figures["records"],
        "events": figures["events"],
        "errors": figures["errors"],
        "rows_per_insert": round(figures["rows"] / max(1, figures["inserts"]), 1),
        "rows_per_second": rates.since_last(figures["rows"], time.monotonic()),
        "rebalancing": bool(app.rebalancing),
        "partitions": reports(app, stage.partitions.values()),
    }
