"""The judge goes on from a checkpoint as if it had never stopped, and refuses one that is not of
this system."""

from pathlib import Path

import msgspec
import pytest

from connectors.kafka.memory_broker import MemoryBroker
from ops.audit.checkpoint import Checkpoint, CheckpointRefused, load, save
from ops.audit.partition_state import CannotJudge, CountersSeen, PartitionState
from ops.audit.topics import TopicsState
from ops.audit.verdict import CLEAN
from schemas.topics import LOG, SUBMITTED
from tests.planted.kafka import AS_SENT, KAFKA_PLANTS
from tests.planted.memory import judged, planted
from tests.planted.plant import HONEST, PARTITIONS


def begun() -> TopicsState:
    return TopicsState([PartitionState() for _ in range(PARTITIONS)])


def saved(path: Path, broker: MemoryBroker, state: TopicsState) -> TopicsState:
    """The state after it was written to a file and read."""
    save(path, Checkpoint(broker.topic_ids(), state))
    found = load(path, broker.topic_ids(), PARTITIONS)
    assert found is not None
    return found.state


def half(broker: MemoryBroker) -> MemoryBroker:
    """The same broker before the second half of its log was written."""
    copy, _ = planted(AS_SENT)
    log = copy.log(LOG, 0)
    copy.cut_tail(LOG, 0, log.end // 2)
    assert 0 < copy.log(LOG, 0).end < broker.log(LOG, 0).end
    return copy


def test_it_goes_on_where_it_was(tmp_path: Path) -> None:
    broker, _ = planted(AS_SENT)
    whole, state = begun(), begun()
    alone = judged(broker, state=whole)
    first = judged(half(broker), state=state)
    second = judged(broker, state=(state := saved(tmp_path / "audit", broker, state)))
    assert first.lines() == second.lines() == [CLEAN]
    counts = first.figures["messages"], second.figures["messages"]
    assert min(counts) > 0
    assert sum(counts) == alone.figures["messages"]
    assert state == whole


def test_what_comes_after_it_is_found(tmp_path: Path) -> None:
    """Of one plant at a time: honest messages of its conversation are behind the checkpoint."""
    for plant in (one for one in KAFKA_PLANTS if one.partition == 0):
        broker, laid = planted([HONEST, plant])
        state = begun()
        copy, _ = planted([HONEST])
        assert judged(copy, state=state).lines() == [CLEAN]
        verdict = judged(broker, state=saved(tmp_path / "audit", broker, state))
        assert plant.finding(laid[plant.fault]) in verdict.findings, plant.fault


@pytest.mark.parametrize("topic", [LOG, SUBMITTED])
def test_a_tail_that_was_judged_and_is_gone_is_found(topic: str) -> None:
    broker, _ = planted(AS_SENT)
    state = begun()
    assert judged(broker, state=state).lines() == [CLEAN]
    end = broker.log(topic, 0).end
    broker.cut_tail(topic, 0, 2)
    (finding,) = judged(broker, state=state).findings
    assert finding.line() == (
        f"lost-write: {topic}/0 offset {end - 2}: it ends here; it was judged up to offset "
        f"{end - 1}"
    )


def test_what_has_expired_of_the_log_cannot_be_judged() -> None:
    broker, _ = planted(AS_SENT)
    broker.expire(LOG, 0, 2)
    with pytest.raises(CannotJudge) as raised:
        judged(broker)
    assert str(raised.value) == (
        f"{LOG}/0 begins at offset 2, and the judge has to go on from 0: begin with a newer "
        "checkpoint"
    )


def test_what_has_expired_of_the_input_is_taken_on_trust() -> None:
    """And what follows is judged as if the judge had seen all of it."""
    for plant in (one for one in KAFKA_PLANTS if one.partition == 0):
        broker, laid = planted([*AS_SENT, plant])
        before = laid[plant.fault].input
        broker.expire(SUBMITTED, 0, before - 1)
        verdict = judged(broker)
        assert plant.finding(laid[plant.fault]) in verdict.findings, plant.fault
        assert verdict.figures["taken on trust"] > 2 * len(AS_SENT)
    broker, _ = planted(AS_SENT)
    broker.expire(SUBMITTED, 0, 5)
    state, whole = begun(), begun()
    assert judged(broker, state=state).lines() == [CLEAN]
    judged(planted(AS_SENT)[0], state=whole)
    assert state == whole


def test_what_has_expired_after_it_was_judged_is_not_missed() -> None:
    broker, _ = planted(AS_SENT)
    state = begun()
    judged(broker, state=state)
    for topic in (LOG, SUBMITTED):
        broker.expire(topic, 0, broker.log(topic, 0).end - 1)
    assert judged(broker, state=state).lines() == [CLEAN]


def test_counters_of_before_the_checkpoint_are_judged_at_their_offset() -> None:
    broker, _ = planted(AS_SENT)
    state = begun()
    judged(broker, state=state)
    right = dict(state.partitions[0].fold.numbers)
    last = state.partitions[0].log_end - 1
    assert judged(broker, {0: CountersSeen(last, right)}, state).lines() == [CLEAN]
    name = next(iter(right))
    wrong = {0: CountersSeen(last, {**right, name: 77})}
    assert [finding.text for finding in judged(broker, wrong, state).findings] == [
        f"the worker's table counts 77, the log {right[name]}"
    ]
    ahead = judged(broker, {0: CountersSeen(last + 1, right)}, state).findings
    assert [str(finding.place) for finding in ahead] == [f"{LOG}/0 offset {last + 1}"]


def test_without_a_file_it_begins_anew(tmp_path: Path) -> None:
    assert load(tmp_path / "audit", {}, PARTITIONS) is None


IDS = {SUBMITTED: "one", LOG: "two"}


@pytest.mark.parametrize(
    ("topics", "partitions", "why"),
    [
        (
            {**IDS, SUBMITTED: "new"},
            4,
            f"is of the topic {SUBMITTED} with id one, and Kafka's has new",
        ),
        ({**IDS, LOG: "new"}, 4, f"is of the topic {LOG} with id two, and Kafka's has new"),
        (IDS, 8, "is of 4 partitions, not 8"),
    ],
)
def test_a_checkpoint_of_another_system_is_refused(
    tmp_path: Path, topics: dict[str, str], partitions: int, why: str
) -> None:
    path = tmp_path / "audit"
    save(path, Checkpoint(IDS, begun()))
    with pytest.raises(CheckpointRefused) as raised:
        load(path, topics, partitions)
    assert str(raised.value) == f"{path} {why}; move it away to begin anew"


def test_a_file_that_is_damaged_or_of_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "audit"
    save(path, Checkpoint(IDS, begun()))
    whole = path.read_bytes()
    magic, format_, crc, value = msgspec.msgpack.decode(whole)
    newer = msgspec.msgpack.encode([magic, format_ + 1, crc, value])
    for content, why in (
        (newer, f"is of format {format_ + 1}, and this code reads format {format_}"),
        (whole[:-1], "is no checkpoint, or damaged"),
        (whole[:-3] + b"\x01" + whole[-2:], "is damaged"),
        (b"", "is no checkpoint, or damaged"),
        (msgspec.msgpack.encode(["another program", 1, 0, None]), "is no checkpoint"),
    ):
        path.write_bytes(content)
        with pytest.raises(CheckpointRefused) as raised:
            load(path, IDS, PARTITIONS)
        assert str(raised.value) == f"{path} {why}; move it away to begin anew"


def test_a_checkpoint_is_replaced_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "audit"
    save(path, Checkpoint(IDS, begun()))

    def dies(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", dies)
    with pytest.raises(OSError, match="no space"):
        save(path, Checkpoint({**IDS, LOG: "other"}, begun()))
    assert load(path, IDS, PARTITIONS) is not None
