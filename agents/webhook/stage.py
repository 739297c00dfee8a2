"""The webhook: `notifications` → signed calls of an endpoint (decision 60). What they say is
agents/rules/webhook.py."""

from collections.abc import Awaitable, Callable

from agents.webhook.partition import GROUP, WebhookIO, WebhookPartition
from connectors.kafka.ports import Fetch
from schemas.topics import NOTIFICATIONS
from streams.stage import Stage, StageSpec
from streams.worker_api import Handler, Request, Response, json_response

AT_ONCE = 8
"""Calls under way: what an endpoint that is behind must bear, and what it may leave unanswered."""
_FETCH = Fetch(64 * 1024, 1.0)
_SESSION_SECONDS = 6.0
"""Nobody waits for the successor of a worker that was killed."""

WebhookStage = Stage[WebhookPartition]


def webhook_stage(
    io: WebhookIO, partitions: int, close: Callable[[], Awaitable[None]]
) -> StageSpec[WebhookPartition]:
    """The stage, for a topic of so many partitions; `close` ends the endpoint's client. Make it
    inside a running loop."""
    return StageSpec(
        GROUP,
        GROUP,
        NOTIFICATIONS,
        partitions,
        lambda number, runtime: WebhookPartition(number, runtime, io),
        endpoints=_endpoints,
        close=close,
        fetch=_FETCH,
        session_seconds=_SESSION_SECONDS,
    )


def _endpoints(stage: WebhookStage) -> dict[str, Handler]:
    async def status(request: Request) -> Response:
        figures = "delivered", "failed", "dead", "unreadable", "records", "events"
        return json_response(stage.status(*figures, rate="delivered"))

    return {"/webhook/": status}
