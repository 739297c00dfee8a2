"""The notifier: `messages` → `receipts.submitted`, for whoever has no device connected (decision
60). The decisions are agents/rules/notifications.py and agents/rules/cursors.py."""

from agents.notifier.partition import GROUP, NotifierIO, NotifierPartition
from connectors.kafka.ports import Fetch
from schemas.topics import LOG
from streams.stage import Stage, StageSpec
from streams.worker_api import Handler, Request, Response, json_response

_FETCH = Fetch(64 * 1024, 1.0)
"""A notification comes a second later, and a receipt that is on its way makes it superfluous."""
_SESSION_SECONDS = 6.0
"""Nobody waits for the successor of a notifier that was killed."""

NotifierStage = Stage[NotifierPartition]


def notifier_stage(io: NotifierIO, partitions: int) -> StageSpec[NotifierPartition]:
    """The stage, for a log of so many partitions. Make it inside a running loop."""
    return StageSpec(
        GROUP,
        GROUP,
        LOG,
        partitions,
        lambda number, runtime: NotifierPartition(number, runtime, io),
        endpoints=_endpoints,
        fetch=_FETCH,
        session_seconds=_SESSION_SECONDS,
    )


def _endpoints(stage: NotifierStage) -> dict[str, Handler]:
    async def status(request: Request) -> Response:
        figures = "messages", "unreached", "unreadable", "records", "events"
        return json_response(stage.status(*figures, rate="messages"))

    return {"/notifier/": status}
