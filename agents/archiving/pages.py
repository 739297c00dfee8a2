"""The archiver's pages in the Faust web monitor."""

import time
from typing import Any

from agents.archiving.stage import ArchiverStage
from streams.app import PipelineApp
from streams.rates import Rates


def add_pages(app: PipelineApp, stage: ArchiverStage) -> None:
    """`/health/` and `/archiver/`."""
    rates = Rates()

    @app.page("/health/")
    async def health(web: Any, request: Any) -> Any:
        """200 when every partition of this worker runs and ClickHouse takes its rows, else 503; lists what does not."""
        problems = stage.unhealthy()
        if app.joining:
            problems.insert(0, "joining the group")
        return web.json({"healthy": not problems, "problems": problems}, status=503 if problems else 200)

    @app.page("/archiver/")
    async def archiver(web: Any, request: Any) -> Any:
        """Figures since start, rows/s since the last look, and each partition's state, position and lag in log records."""
        figures = stage.figures
        partitions = []
        for partition in stage.partitions.values():
            report, end = partition.report(), app.input_end(partition.number)
            known = end is not None and partition.committable is not None
            report["lag"] = max(0, end - partition.committable) if known else None  # type: ignore[operator]
            partitions.append(report)
        return web.json(
            {
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
        )
