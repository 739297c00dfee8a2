"""The archiver's pages in the Faust web monitor."""

import time
from collections.abc import Sequence
from typing import Any

from agents.archiving.stage import ArchiverStage
from streams.app import PipelineApp
from streams.rates import Rates


def add_pages(shown_by: PipelineApp, stages: Sequence[tuple[PipelineApp, ArchiverStage]]) -> None:
    """`/health/` and `/archiver/`, of all stages of this worker."""
    rates = {stage.topic: Rates() for _, stage in stages}

    @shown_by.page("/health/")
    async def health(web: Any, request: Any) -> Any:
        """200 when every partition of this worker runs and ClickHouse takes its rows, else 503; lists what does not."""
        problems = [f"{stage.topic}: joining the group" for app, stage in stages if app.joining]
        problems += [problem for _, stage in stages for problem in stage.unhealthy()]
        return web.json({"healthy": not problems, "problems": problems}, status=503 if problems else 200)

    @shown_by.page("/archiver/")
    async def archiver(web: Any, request: Any) -> Any:
        """By topic: figures since start, rows/s since the last look; state, position and lag in records of each partition."""
        return web.json({stage.topic: _report(app, stage, rates[stage.topic]) for app, stage in stages})


def _report(app: PipelineApp, stage: ArchiverStage, rates: Rates) -> dict[str, Any]:
    figures = stage.figures
    partitions = []
    for partition in stage.partitions.values():
        report, end = partition.report(), app.input_end(partition.number)
        known = end is not None and partition.committable is not None
        report["lag"] = max(0, end - partition.committable) if known else None  # type: ignore[operator]
        partitions.append(report)
    return {
        "rows": figures["rows"],
        "blocks": figures["blocks"],
        "records": figures["records"],
        "events": figures["events"],
        "errors": figures["errors"],
        "rows_per_block": round(figures["rows"] / max(1, figures["blocks"]), 1),
        "rows_per_second": rates.since_last(figures["rows"], time.monotonic()),
        "rebalancing": bool(app.rebalancing),
        "partitions": partitions,
    }
