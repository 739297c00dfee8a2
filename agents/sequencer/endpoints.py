"""The sequencer's endpoints: `/sequencer/` and `/sequencer/snapshot/…` for people,
`/sequencer/counters/…` for the judge, the others for gateways."""

import asyncio
from collections.abc import Mapping

from agents.sequencer.answers import Answers, counters, newest_page, page
from agents.sequencer.partition import SequencerPartition
from agents.sequencer.snapshot_writer import SnapshotFailed
from connectors.kafka.ports import ReadTimeout
from schemas.frames import MAX_PAGE_MESSAGES
from schemas.worker_api import (
    HeadsQuestion,
    NewestQuestion,
    PageHead,
    RangeGone,
    SeqsQuestion,
)
from streams.partition import Status
from streams.stage import Stage
from streams.worker_api import (
    LINES,
    Handler,
    Request,
    Response,
    answering,
    each,
    encode_json,
    json_response,
)


def sequencer_endpoints(stage: Stage[SequencerPartition]) -> Mapping[str, Handler]:
    """Pattern → handler."""
    endpoints = _Endpoints(stage)
    answers = Answers(stage)
    return {
        "/sequencer/": endpoints.status,
        "/sequencer/counters/{partition}/": endpoints.counters,
        "/sequencer/page/{partition}/": endpoints.page,
        "/sequencer/snapshot/{partition}/": endpoints.snapshot,
        "/sequencer/heads/": answering(HeadsQuestion, answers.heads),
        "/sequencer/seqs/": answering(SeqsQuestion, each(answers.seqs)),
        "/sequencer/newest/": answering(NewestQuestion, each(answers.newest)),
    }


class _Endpoints:
    def __init__(self, stage: Stage[SequencerPartition]) -> None:
        self._stage = stage

    async def status(self, request: Request) -> Response:
        """Figures since the start, messages/s of the last seconds, and each partition's report."""
        figures = self._stage.figures
        messages_per_event = round(figures["messages"] / max(1, figures["events"]), 2)
        shown = "messages", "repeats", "dead_letters", "events", "questions", "partitions_asked"
        status = self._stage.status(*shown, rate="messages")
        return json_response(status | {"messages_per_event": messages_per_event})

    async def counters(self, request: Request) -> Response:
        """A line of the partition, the log offset and the input position; then a line
        [conversation, last seq] each."""
        owned = self._owned(request)
        found = await counters(owned) if owned is not None else None
        if owned is None or found is None:
            return _not_here(request)
        place, entries = found
        lines = [encode_json({"partition": owned.number, **place})]
        for index, entry in enumerate(entries):
            lines.append(encode_json(entry))
            if index % 2000 == 1999:
                await asyncio.sleep(0)
        return Response(200, b"\n".join(lines) + b"\n", LINES)

    async def page(self, request: Request) -> Response:
        """?conversation=&after=&limit= : {"known": last seq} and the `message` frames that follow
        `after`, one a line. With &newest=1 as well: those that follow known - limit.

        404: not here, ask the worker that has the partition; 410: older than the log; 503: Kafka
        does not answer.
        """
        after = _number(request, "after", 0)
        limit = _number(request, "limit", MAX_PAGE_MESSAGES)
        if after is None or limit is None:
            return json_response({"error": "after and limit must be numbers"}, 400)
        owned = self._owned(request)
        conversation = request.query.get("conversation", "")
        try:
            if owned is None:
                found = None
            elif "newest" in request.query:
                found = await newest_page(owned, conversation, limit)
            else:
                found = await page(owned, conversation, after, limit)
        except RangeGone as error:
            return json_response({"error": f"the log no longer holds {error}"}, 410)
        except ReadTimeout as error:
            return json_response({"error": str(error)}, 503)
        if found is None:
            return _not_here(request)
        head = encode_json(PageHead(found.known, found.changed))
        return Response(200, b"\n".join([head, *found.frames]), LINES)

    async def snapshot(self, request: Request) -> Response:
        """Write a snapshot of the partition, and say which. 404: not here; 503: it cannot be
        written."""
        owned = self._owned(request)
        if owned is None or owned.status is not Status.RUNNING:
            return _not_here(request)
        try:
            record = await owned.snapshots.write()
        except SnapshotFailed as error:
            return json_response({"error": str(error)}, 503)
        shown = "id", "log_offset", "position", "rows", "bytes"
        return json_response({name: getattr(record, name) for name in shown})

    def _owned(self, request: Request) -> SequencerPartition | None:
        number = request.values["partition"]
        return self._stage.partitions.get(int(number)) if _is_number(number) else None


def _not_here(request: Request) -> Response:
    error = f"partition {request.values['partition']} is not on this worker"
    return json_response({"error": error}, 404)


def _number(request: Request, name: str, default: int) -> int | None:
    text = request.query.get(name, str(default))
    return int(text) if _is_number(text) else None


def _is_number(text: str) -> bool:
    return text.isdecimal() and text.isascii() and len(text) <= 16
