"""The sequencer: `messages.submitted` → `messages` and `deliveries`.

One event is all that was fetched of a partition. The decisions are agents/rules.
"""

from collections.abc import Mapping, Sequence

from agents.claims import renew_claims
from agents.rules.position import FoundLog
from agents.sequencer.endpoints import sequencer_endpoints
from agents.sequencer.io import SequencerIO
from agents.sequencer.partition import SequencerPartition
from agents.sequencer.snapshot_writer import SnapshotPolicy
from schemas.topics import DEAD_LETTERS, LOG, MEMBERSHIPS, SUBMITTED
from streams.inputs import InputSeen
from streams.partition import Status
from streams.stage import Stage, StageSpec, Timer

GROUP = "sequencer"
_LOOK_SECONDS = 10.0
_DECIDED_SECONDS = 2.0


def sequencer_stage(
    io: SequencerIO,
    partitions: int,
    policy: SnapshotPolicy = SnapshotPolicy(),  # noqa: B008 (it is a value)
) -> StageSpec[SequencerPartition]:
    """The stage, of topics with so many partitions."""

    def timers(stage: Stage[SequencerPartition]) -> Sequence[Timer]:
        return (
            Timer(_LOOK_SECONDS, lambda: look_at_logs(stage)),
            renew_claims(stage, io.owners, io.address),
            Timer(_DECIDED_SECONDS, lambda: look_for_decisions(stage)),
        )

    return StageSpec(
        "sequencer",
        GROUP,
        SUBMITTED,
        partitions,
        lambda number, runtime: SequencerPartition(
            number, runtime, io.partition(number, runtime.confirmed), policy
        ),
        timers,
        sequencer_endpoints,
        _problems,
        close=io.close,
    )


async def look_for_decisions(stage: Stage[SequencerPartition]) -> None:
    """See what operators have decided about halted partitions. Only for one that no other worker
    can have: who restores it later knows the decision, too. Raises ReadTimeout, OffsetGone."""
    for owned in list(stage.partitions.values()):
        if stage.confirmed:
            await owned.look_for_decisions()


def _problems(stage: Stage[SequencerPartition]) -> Sequence[str]:
    return [
        f"{owned.name}: {owned.snapshots.problem}"
        for owned in stage.partitions.values()
        if owned.status is Status.RUNNING and owned.snapshots.problem
    ]


async def look_at_logs(stage: Stage[SequencerPartition]) -> None:
    """See whether the logs are still those that were applied, and where they begin; how many dead
    letters there are; and whether `memberships` is still the one that was told. Raises ReadTimeout,
    KafkaUnreachable."""
    running = {
        number: owned.log_offset
        for number, owned in stage.partitions.items()
        if owned.status is Status.RUNNING
    }
    if not running:
        return
    inputs = stage.partitions[next(iter(running))].runtime.inputs
    found: Mapping[int, InputSeen] = {}
    try:
        found = await inputs.look(LOG, list(running))
    finally:
        for number, log_offset in running.items():
            owned = stage.partitions.get(number)
            if owned is not None and owned.status is Status.RUNNING:
                _saw_log(owned, found.get(number), log_offset)
    topics = await inputs.topic_ids()
    for owned in stage.partitions.values():
        if owned.status is Status.RUNNING:
            owned.memberships_are(topics.get(MEMBERSHIPS, ""))
    for number, dead in (await inputs.look(DEAD_LETTERS, list(running), fresh=False)).items():
        if number in stage.partitions:
            stage.partitions[number].dead_letters = dead.end - dead.start


def _saw_log(owned: SequencerPartition, seen: InputSeen | None, log_offset: int) -> None:
    # A log without a leader takes no appends. The partition waits for it, and does not hang.
    owned.output_away = "" if seen else f"kafka: nobody answers for {LOG}/{owned.number}"
    if seen is not None:
        owned.log_is(FoundLog(seen.topic, seen.start, seen.end, None), log_offset)
