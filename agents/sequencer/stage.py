"""The sequencer: `messages.submitted` → `messages` and `deliveries`.

One event is all that was fetched of a partition. The decisions are agents/rules.
"""

from collections.abc import Sequence

from agents.claims import renew_claims
from agents.rules.position import FoundLog
from agents.sequencer.endpoints import sequencer_endpoints
from agents.sequencer.io import SequencerIO
from agents.sequencer.partition import SequencerPartition
from schemas.topics import LOG, SUBMITTED
from streams.partition import Status
from streams.stage import Stage, StageSpec, Timer

GROUP = "sequencer"
_LOOK_SECONDS = 10.0


def sequencer_stage(io: SequencerIO, partitions: int) -> StageSpec[SequencerPartition]:
    """The stage, of topics with so many partitions."""

    def timers(stage: Stage[SequencerPartition]) -> Sequence[Timer]:
        return (
            Timer(_LOOK_SECONDS, lambda: look_at_logs(stage)),
            renew_claims(stage, io.owners, io.address),
        )

    return StageSpec(
        "sequencer",
        GROUP,
        SUBMITTED,
        partitions,
        lambda number, runtime: SequencerPartition(number, runtime, io.partition(number)),
        timers,
        sequencer_endpoints,
        close=io.close,
    )


async def look_at_logs(stage: Stage[SequencerPartition]) -> None:
    """See whether the logs are still those that were applied, and where they begin. Raises
    ReadTimeout, KafkaUnreachable."""
    running = {
        number: owned.log_offset
        for number, owned in stage.partitions.items()
        if owned.status is Status.RUNNING
    }
    if not running:
        return
    inputs = stage.partitions[next(iter(running))].runtime.inputs
    found = await inputs.look(LOG, list(running))
    for number, seen in found.items():
        owned = stage.partitions.get(number)
        if owned is not None and owned.status is Status.RUNNING:
            owned.log_is(FoundLog(seen.topic, seen.start, seen.end, None), running[number])
