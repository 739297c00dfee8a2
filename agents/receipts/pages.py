"""The cursors' pages in the Faust web monitor."""

import time
from typing import Any

import msgspec
from faust.web import View

from agents.receipts.stage import CursorStage
from schemas.codec import UNDECODABLE
from schemas.ranges import MarksQuestion
from streams.app import PipelineApp
from streams.rates import Rates

encode_json = msgspec.json.Encoder().encode
decode_question = msgspec.json.Decoder(MarksQuestion).decode


def add_pages(app: PipelineApp, stage: CursorStage) -> None:
    """`/health/` and `/cursors/` for people, `/cursors/marks/` for gateways."""
    rates = Rates()

    @app.page("/health/")
    async def health(web: Any, request: Any) -> Any:
        """200 when every partition of this worker runs, else 503; lists what does not."""
        problems = stage.unhealthy()
        if app.joining:
            problems.insert(0, "joining the group")
        return web.json({"healthy": not problems, "problems": problems}, status=503 if problems else 200)

    @app.page("/cursors/")
    async def cursors(web: Any, request: Any) -> Any:
        """Figures since start, receipts/s since the last look, and each partition's state, position and lag in records."""
        figures = stage.figures
        partitions = []
        for partition in stage.partitions.values():
            report, end = partition.report(), app.input_end(partition.number)
            known = end is not None and partition.done is not None
            report["lag"] = max(0, end - partition.done) if known else None  # type: ignore[operator]
            partitions.append(report)
        return web.json(
            {
                "receipts": figures["receipts"],
                "raised": figures["raised"],
                "told": figures["told"],
                "unreadable": figures["unreadable"],
                "events": figures["events"],
                "receipts_per_second": rates.since_last(figures["receipts"], time.monotonic()),
                "rebalancing": bool(app.rebalancing),
                "partitions": partitions,
            }
        )

    @app.page("/cursors/marks/")
    class Marks(View):
        async def post(self, request: Any) -> Any:
            """A MarksQuestion in, a MarksAnswer out."""
            try:
                question = decode_question(await request.read())
            except UNDECODABLE as error:
                return self.json({"error": str(error)}, status=400)
            return self.bytes(encode_json(stage.marks(question)), content_type="application/json")
