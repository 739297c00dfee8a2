"""The archiver: `messages` and `cursors` → ClickHouse, by a stage for each. The decisions are
agents/rules/archive.py."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agents.archiver.backlog import Budget
from agents.archiver.content import CURSORS, MESSAGES, Content
from agents.archiver.inserts import Inserts
from agents.archiver.partition import ArchiverIO, ArchiverPartition
from connectors.clickhouse.ports import Archive, ArchiveRefused, ArchiveUnavailable
from connectors.dependency import ASK_SECONDS, ask_once
from connectors.kafka.ports import Fetch, Kafka
from schemas.topics import SUBMITTED
from streams.inputs import Inputs
from streams.partition import PartitionRuntime
from streams.stage import Stage, StageSpec, Timer
from streams.worker_api import Handler, Request, Response, json_response

_LOOK_SECONDS = 10.0
FETCH = Fetch(256 * 1024, 1.0)
"""Nobody waits for the archive, and reading each message as it comes would cost more than all the
rest. With the append (100 ms), the linger of agents/archiver/content.py and the insert, a message
is in the archive within 3 s."""
_SESSION_SECONDS = 6.0
"""Nobody waits for the successor of an archiver that was killed."""

ArchiverStage = Stage[ArchiverPartition[Any]]
Spec = StageSpec[ArchiverPartition[Any]]


def archiver_stages(
    kafka: Kafka,
    archive: Archive,
    inputs: Inputs,
    partitions: int,
    contents: Sequence[Content[Any]] = (MESSAGES, CURSORS),
) -> Sequence[Spec]:
    """The stages, for topics of so many partitions. Raises KafkaUnreachable."""
    began, budget = dict(kafka.topic_ids()), Budget()
    stages: dict[str, tuple[ArchiverStage, Inserts[Any]]] = {}

    async def status(request: Request) -> Response:
        return json_response({topic: _status(*stage) for topic, stage in stages.items()})

    def spec(content: Content[Any]) -> Spec:
        inserts = Inserts(content, archive, budget.turns)
        topic_id = began[content.topic]
        io = ArchiverIO(kafka, topic_id, partitions, content, archive, inserts, budget, {})

        def endpoints(stage: ArchiverStage) -> Mapping[str, Handler]:
            stages[content.topic] = stage, inserts
            return {"/archiver/": status}

        def timers(stage: ArchiverStage) -> Sequence[Timer]:
            look = _look(stage, inputs, began)
            # one of the stages is enough
            return [look, _ask(stage, archive, inserts)] if content is contents[0] else [look]

        def make(number: int, runtime: PartitionRuntime) -> ArchiverPartition[Any]:
            return ArchiverPartition(number, runtime, io)

        return StageSpec(
            f"archiver-{content.topic}",
            io.group,
            content.topic,
            partitions,
            make,
            timers=timers,
            endpoints=endpoints,
            problems=_problems,
            close=inserts.close,
            fetch=FETCH,
            session_seconds=_SESSION_SECONDS,
        )

    first, *others = map(spec, contents)
    # the first stage is the last to be closed
    return [first._replace(close=_both(first.close, archive.close)), *others]


def _both(first: Any, then: Any) -> Callable[[], Any]:
    async def close() -> None:
        await first()
        await then()

    return close


def _look(stage: ArchiverStage, inputs: Inputs, began: Mapping[str, str]) -> Timer:
    async def run() -> None:
        now = await inputs.topic_ids()
        if any(now.get(name) not in (None, began[name]) for name in (stage.spec.topic, SUBMITTED)):
            stage.end("topics were created anew")

    return Timer(_LOOK_SECONDS, run)


def _ask(stage: ArchiverStage, archive: Archive, inserts: Inserts[Any]) -> Timer:
    """An archiver that has nothing to insert would not notice that ClickHouse is away."""
    seen = -1

    async def ask() -> None:
        nonlocal seen
        if seen == inserts.done:
            await archive.answers()
        seen = inserts.done

    async def run() -> None:
        clickhouse = stage.dependencies.get("clickhouse")
        await ask_once(clickhouse, ask, (ArchiveUnavailable, ArchiveRefused))

    return Timer(ASK_SECONDS, run)


def _problems(stage: ArchiverStage) -> Sequence[str]:
    return [f"{owned.name}: {owned.lost}" for owned in stage.partitions.values() if owned.lost]


def _status(stage: ArchiverStage, inserts: Inserts[Any]) -> dict[str, Any]:
    status = stage.status("rows", "records", "events", "errors", rate="rows")
    per_insert = round(status["rows"] / max(1, inserts.done), 1)
    return status | {"inserts": inserts.done, "rows_per_insert": per_insert}
