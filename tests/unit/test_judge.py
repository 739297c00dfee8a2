"""The judge: each deviation is planted and must be named; what is harmless must pass."""

from collections.abc import Callable, Sequence
from functools import partial

import msgspec
import pytest

from agents.rules.batch import fold_records
from agents.rules.fanout import deliveries
from agents.rules.fold import FoldState
from agents.rules.fold_view import InMemoryFoldView
from ops.audit.claims import Claims
from ops.audit.deliveries import DeliveryJudge
from ops.audit.devices import Shown, judge_devices
from ops.audit.log import PartitionJudge
from ops.audit.partition_state import CountersSeen
from ops.audit.recent import RecentMessages
from ops.audit.verdict import CLEAN, MEANINGS, Verdict
from schemas.codec import encode_event
from schemas.events import (
    SCHEMA_VERSION,
    Delivered,
    DeliveryRecord,
    InputSkipped,
    LogRecord,
    MessageDelivered,
    MessageSubmitted,
    SubmittedRecord,
    Taken,
)
from tests.property.model import Input

A = "alice:bob"
COUNT = 6
replace = msgspec.structs.replace


def submitted(ordinal: int) -> bytes:
    item = MessageSubmitted(
        A, "alice", "phone", b"o" * 16, ordinal, bytes([ordinal]) * 16, 0, f"message {ordinal}"
    )
    return encode_event(SubmittedRecord(SCHEMA_VERSION, [item]))


INPUT = [Input(n, 1000 + n, submitted(n + 1)) for n in range(COUNT)]


def honest_log(inputs: Sequence[Input] = INPUT) -> list[LogRecord]:
    """One log record an input record."""
    state = FoldState(InMemoryFoldView())
    return [batch.log_record(-1) for record in inputs for batch in fold_records(state, [record])]


LOG = honest_log()
COUNTERS = CountersSeen(COUNT - 1, {A: COUNT})


def judged(
    log: Sequence[LogRecord],
    counters: CountersSeen | None = None,
    delivered: Sequence[Delivered] = (),
    inputs: Sequence[Input] = INPUT,
) -> Verdict:
    verdict, recent = Verdict(), RecentMessages()
    judge = PartitionJudge(0, 1, verdict, recent)
    judge.read_on(iter(inputs), records(log), counters)
    judge.ends(counters)
    claims = Claims(verdict, recent, judge.last)
    deliveries_judge = DeliveryJudge(verdict, claims)
    for offset, event in enumerate(delivered):
        value = encode_event(DeliveryRecord(SCHEMA_VERSION, [event]))
        deliveries_judge.read(0, Input(offset, 0, value))
    claims.ends(lambda conversation: judge.state.position == len(inputs) - 1)
    return verdict


def records(log: Sequence[LogRecord]) -> list[Input]:
    return [Input(offset, 0, encode_event(record)) for offset, record in enumerate(log)]


def with_taken(place: int, *taken: Taken) -> list[LogRecord]:
    """The honest log with other content in one record."""
    return [
        replace(record, taken=list(taken)) if index == place else record
        for index, record in enumerate(LOG)
    ]


def with_record(place: int, **changes: object) -> list[LogRecord]:
    """The honest log with one record that says something else of the state after it."""
    return [
        replace(record, **changes) if index == place else record for index, record in enumerate(LOG)
    ]


def test_an_honest_log_with_its_deliveries_and_counters_is_clean() -> None:
    routes = {"alice": [("phone", 0), ("tablet", 1)], "bob": [("phone", 1)]}
    taken = [item for record in LOG for item in record.taken]
    delivered = [event for events in deliveries(taken, [], routes).values() for event in events]
    verdict = judged(LOG, COUNTERS, delivered)
    assert verdict.lines() == [CLEAN]
    assert (verdict.figures["messages"], verdict.figures["deliveries"]) == (COUNT, COUNT)


@pytest.mark.parametrize(
    "log",
    [
        pytest.param(LOG[:4], id="the sequencer is behind"),
        pytest.param([*LOG, LOG[3]], id="a late append of what is known"),
        pytest.param([*LOG[:2], LOG[3], LOG[2], *LOG[3:]], id="a hole that closed"),
        pytest.param(
            [
                *LOG[:3],
                replace(LOG[3], from_=1, taken=[t for r in LOG[1:4] for t in r.taken]),
                *LOG[4:],
            ],
            id="overlap",
        ),
    ],
)
def test_what_is_harmless_passes(log: list[LogRecord]) -> None:
    assert judged(log).clean


def test_counters_are_those_of_the_log_offset_they_name() -> None:
    assert judged(LOG, CountersSeen(2, {A: 3})).clean
    assert judged(LOG, CountersSeen(-1, {})).clean


def delivery(**changes: object) -> MessageDelivered:
    routes = {"bob": [("phone", 0)]}
    (event,) = deliveries([replace(LOG[2].taken[0], **changes)], [], routes)[0]
    assert isinstance(event, MessageDelivered)
    return event


THIRD = LOG[2].taken[0]
SWAPPED = [replace(THIRD, seq=2), replace(LOG[1].taken[0], seq=3)]
NOBODY_S = replace(LOG[5].taken[0], seq=7, ordinal=7, key=b"k" * 16)
PLANTED: dict[str, tuple[str, Callable[[], Verdict]]] = {
    "message missing": ("lost-write", lambda: judged(with_taken(2))),
    "hole that never closes": ("lost-write", lambda: judged([*LOG[:2], *LOG[3:]])),
    "other body": (
        "inconsistent-offsets",
        lambda: judged(with_taken(2, replace(THIRD, body="other"))),
    ),
    "other time": ("inconsistent-offsets", lambda: judged(with_taken(2, replace(THIRD, time=1)))),
    "other key": (
        "inconsistent-offsets",
        lambda: judged(with_taken(2, replace(THIRD, key=b"k" * 16))),
    ),
    "number skipped": ("poll-skip", lambda: judged(with_taken(2, replace(THIRD, seq=4)))),
    "message out of nothing": (
        "phantom",
        lambda: judged(with_taken(5, LOG[5].taken[0], NOBODY_S)),
    ),
    "taken twice": ("duplicate", lambda: judged(with_taken(2, THIRD, replace(THIRD, seq=4)))),
    "senders' order": (
        "nonmonotonic-send",
        lambda: judged([LOG[0], replace(LOG[2], from_=1, taken=SWAPPED), *LOG[3:]]),
    ),
    "log time goes back": (
        "inconsistent-offsets",
        lambda: judged([*LOG[:2], replace(LOG[2], time=5), *LOG[3:]][:3]),
    ),
    "other time after a record": (
        "inconsistent-offsets",
        lambda: judged(with_record(2, time=5000)),
    ),
    "other fold version": ("inconsistent-offsets", lambda: judged(with_record(2, fold_version=9))),
    "folded from another input": (
        "inconsistent-offsets",
        lambda: judged(with_record(2, input_crc=1)),
    ),
    "at another broker time": (
        "inconsistent-offsets",
        lambda: judged(with_record(2, input_time=1)),
    ),
    "covers what is not there": ("phantom", lambda: judged(with_record(COUNT - 1, to=99))),
    "late append contradicts": (
        "inconsistent-offsets",
        lambda: judged([*LOG, replace(LOG[2], taken=[replace(THIRD, body="other")])]),
    ),
    "append before a hole contradicts": (
        "inconsistent-offsets",
        lambda: judged(
            [*LOG[:2], replace(LOG[3], taken=[replace(LOG[3].taken[0], body="other")]), *LOG[2:]]
        ),
    ),
    "worker counts more": ("unseen", lambda: judged(LOG, CountersSeen(2, {A: 4}))),
    "worker lacks a conversation": ("unseen", lambda: judged(LOG, CountersSeen(2, {}))),
    "worker counts what no log says": ("unseen", lambda: judged(LOG, CountersSeen(-1, {A: 1}))),
    "worker is ahead of the log": (
        "lost-write",
        lambda: judged(LOG, CountersSeen(COUNT, {A: COUNT})),
    ),
    "other body delivered": (
        "inconsistent-offsets",
        lambda: judged(LOG, delivered=[delivery(body="other")]),
    ),
    "other number delivered": ("phantom", lambda: judged(LOG, delivered=[delivery(seq=99)])),
    "two deliveries contradict": (
        "inconsistent-offsets",
        lambda: judged(LOG, delivered=[delivery(), delivery(key=b"k" * 16)]),
    ),
    "other answer": (
        "inconsistent-offsets",
        lambda: judged(
            LOG, delivered=deliveries([replace(THIRD, time=1)], [], {"alice": [("phone", 0)]})[0]
        ),
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_each_deviation_is_named(name: str) -> None:
    kind, plant = PLANTED[name]
    verdict = plant()
    assert kind in verdict.counts, verdict.lines()
    assert f"{kind} (" in "\n".join(verdict.lines())


def test_one_loss_is_counted_once() -> None:
    assert judged(with_taken(2)).counts["lost-write"] == 1


def test_a_record_that_covers_input_that_is_gone_and_input_that_is_there() -> None:
    one = replace(LOG[4], from_=2, taken=[item for record in LOG[2:5] for item in record.taken])
    log = [*LOG[:2], one, LOG[5]]
    for start in range(1, COUNT):
        verdict = Verdict()
        judge = PartitionJudge(0, 1, verdict, RecentMessages())
        judge.read_on(iter(INPUT[start:]), records(log), input_start=start)
        assert verdict.lines() == [CLEAN]
        assert verdict.figures["taken on trust"] == start
        assert judge.last(A) == COUNT


def skipped(first: int, last: int) -> Input:
    item = InputSkipped(first, last, "eve", "it halts", 1)
    return Input(COUNT, 5000, encode_event(SubmittedRecord(SCHEMA_VERSION, [item])))


def rest_of(inputs: list[Input], offset: int) -> list[Input]:
    return inputs[offset:]


def test_what_an_operator_has_set_aside_is_known_from_what_follows() -> None:
    """The third message, and its time, count for nothing: what follows it is out of step."""
    inputs = [*INPUT[:2], Input(2, 9_000_000, INPUT[2].value), *INPUT[3:], skipped(2, 2)]
    state = FoldState(InMemoryFoldView())
    log = [
        batch.log_record(-1)
        for some in (inputs[:2], inputs[2:5], inputs[5:])
        for batch in fold_records(state, some, lambda offset: offset == 2)
    ]
    for decided, clean in ((inputs, True), ([*inputs[:-1], skipped(1, 1)], False)):
        verdict = Verdict()
        judge = PartitionJudge(0, 1, verdict, RecentMessages())
        judge.read_on(iter(decided), records(log), ahead=partial(rest_of, decided))
        assert verdict.clean is clean, verdict.lines()


def test_a_hole_is_told_so_that_the_reader_may_wait_for_it() -> None:
    for log, waiting in (([*LOG[:2], *LOG[3:]], True), (LOG[:2], False), (LOG, False)):
        judge = PartitionJudge(0, 1, Verdict(), RecentMessages())
        judge.read_on(iter(INPUT), records(log))
        assert judge.waiting is waiting


# Devices


def shown(*numbers: int) -> list[Shown]:
    return [Shown(A, number, f"key {number}", f"body {number}") for number in numbers]


def device_verdict(accepted: Sequence[Shown], **devices: Sequence[Shown]) -> Verdict:
    verdict = Verdict()
    judge_devices(
        accepted, {f"{user}/phone": list(messages) for user, messages in devices.items()}, verdict
    )
    return verdict


def test_devices_that_show_all_in_order_are_clean() -> None:
    assert device_verdict(shown(1, 2, 3), alice=shown(1, 2, 3), bob=shown(1, 2, 3)).clean
    assert device_verdict(shown(1), alice=shown(1, 2), bob=shown(1, 2)).clean, (
        "the sender has not heard of it yet"
    )


TWICE = [*shown(1), Shown(A, 2, "key 1", "body 1")]
DEVICES: dict[str, tuple[str, Sequence[Shown], dict[str, Sequence[Shown]]]] = {
    "never shown": ("lost-write", shown(1, 2), {"alice": shown(1, 2), "bob": shown(1)}),
    "shown by one only": ("lost-write", shown(1), {"alice": shown(1, 2), "bob": shown(1)}),
    "nobody shows it": ("lost-write", shown(1, 2), {"alice": shown(1), "bob": shown(1)}),
    "shown twice": ("duplicate", shown(1), {"bob": shown(1, 1)}),
    "twice numbered, told so": ("duplicate", TWICE, {"bob": TWICE}),
    "twice numbered, everybody shows both": ("duplicate", shown(1), {"alice": TWICE, "bob": TWICE}),
    "goes back": ("nonmonotonic-poll", shown(1, 2), {"bob": shown(1, 2, 1)}),
    "out of order": ("poll-skip", shown(1, 2), {"bob": shown(2, 1)}),
    "hole": ("poll-skip", shown(1, 2, 3), {"bob": shown(1, 3)}),
    "number that exists nowhere": ("poll-skip", shown(1, 3), {"bob": shown(1, 3)}),
    "two devices contradict": (
        "inconsistent-offsets",
        [],
        {"alice": shown(1), "bob": [Shown(A, 1, "key 1", "other")]},
    ),
    "other than accepted": (
        "inconsistent-offsets",
        shown(1),
        {"bob": [Shown(A, 1, "key 9", "body 9")]},
    ),
    "other people's": (
        "phantom",
        shown(1),
        {"alice": shown(1), "bob": shown(1), "mallory": shown(1)},
    ),
}


@pytest.mark.parametrize("name", DEVICES)
def test_each_deviation_of_a_device_is_named(name: str) -> None:
    kind, accepted, devices = DEVICES[name]
    verdict = device_verdict(accepted, **devices)
    assert kind in verdict.counts, verdict.lines()


def test_every_word_is_meant_and_used() -> None:
    named = {kind for kind, *_ in (*PLANTED.values(), *DEVICES.values())}
    assert named == set(MEANINGS)
