"""The sequencer's pages in the Faust web monitor."""

import json
import time
from typing import Any

from agents.sequencer.stage import SequencerStage
from agents.worker_api import add_health, add_question, encode_json, joining
from connectors.kafka.ports import ReadTimeout
from schemas.frames import MAX_PAGE_MESSAGES
from schemas.worker_api import (
    HeadsQuestion,
    HoldingQuestion,
    NewestQuestion,
    PageHead,
    RangeGone,
    SeqsQuestion,
)
from streams.earlier_rates import Rates
from streams.faust_adapter.app import PipelineApp


def add_pages(app: PipelineApp, stage: SequencerStage) -> None:
    """`/health/` and `/sequencer/` for people, `/sequencer/counters/…` for the judge, the others
    for gateways."""
    rates = Rates()

    add_health(app, lambda: [*joining(app), *stage.unhealthy()])

    @app.page("/sequencer/")
    async def sequencer(web: Any, request: Any) -> Any:
        """Figures since start, messages/s since the last look, and each partition's state, position
        and lag."""
        figures = stage.figures
        partitions = []
        for partition in stage.partitions.values():
            report = partition.report()
            if "position" in report:
                end = app.input_end(partition.number)
                report["lag"] = max(0, end - report["position"] - 1) if end is not None else None
            partitions.append(report)
        return web.json(
            {
                "messages": figures["messages"],
                "repeats": figures["repeats"],
                "dead_letters": figures["dead"],
                "events": figures["events"],
                "messages_per_event": round(figures["messages"] / max(1, figures["events"]), 2),
                "messages_per_second": rates.since_last(figures["messages"], time.monotonic()),
                "questions": figures["questions"],
                "partitions_asked": figures["partitions_asked"],
                "rebalancing": bool(app.rebalancing),
                "partitions": partitions,
            }
        )

    @app.page("/sequencer/counters/{partition}/")
    async def counters(web: Any, request: Any, partition: str) -> Any:
        """NDJSON: the log offset and input position of the state, then [conversation, last seq]
        each; for the judge."""
        owned = stage.partitions.get(int(partition)) if partition.isdigit() else None
        if owned is None or owned.table is None:
            return web.json({"error": f"partition {partition} is not on this worker"}, status=404)
        header, entries = owned.table.counters()
        head = {
            "partition": owned.number,
            "log_offset": header.log_offset if header else -1,
            "position": header.position if header else -1,
        }
        lines = [json.dumps(head), *(json.dumps(entry) for entry in entries)]
        return web.text("\n".join(lines) + "\n", content_type="application/x-ndjson")

    @app.page("/sequencer/page/{partition}/")
    async def page(web: Any, request: Any, partition: str) -> Any:
        """?conversation=&after=&limit= : {"known": last seq} and the `message` frames that follow
        `after`, one a line.

        404: not here, ask who has the partition; 410: older than the log; 503: Kafka does not
        answer.
        """
        try:
            after, limit = (
                _number(request, "after", 0),
                _number(request, "limit", MAX_PAGE_MESSAGES),
            )
        except _BadQuery as error:
            return web.json({"error": str(error)}, status=400)
        owned = stage.partitions.get(int(partition)) if partition.isdigit() else None
        try:
            found = (
                await owned.page(request.query.get("conversation", ""), after, limit)
                if owned
                else None
            )
        except RangeGone as error:
            return web.json({"error": f"the log no longer holds {error}"}, status=410)
        except ReadTimeout as error:
            return web.json({"error": str(error)}, status=503)
        if found is None:
            return web.json({"error": f"partition {partition} is not on this worker"}, status=404)
        return web.bytes(
            b"\n".join([encode_json(PageHead(found.known)), *found.frames]),
            content_type="application/x-ndjson",
        )

    add_question(app, "/sequencer/heads/", HeadsQuestion, stage.heads)
    add_question(app, "/sequencer/holding/", HoldingQuestion, stage.holding)
    add_question(app, "/sequencer/seqs/", SeqsQuestion, stage.seqs)
    add_question(app, "/sequencer/newest/", NewestQuestion, stage.newest)


class _BadQuery(ValueError):
    pass


def _number(request: Any, name: str, default: int) -> int:
    text = request.query.get(name, str(default))
    if not text.isdigit() or len(text) > 16:
        raise _BadQuery(f"{name} must be a number")
    return int(text)
