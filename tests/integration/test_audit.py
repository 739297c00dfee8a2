"""The judge on real topics: what a paused worker or a wrong delivery leaves there is named, and
numbers nothing anew."""

import json
from collections.abc import Iterator

import msgspec
import pytest

from agents.rules.fanout import message_frame
from ops.audit.verdict import MEANINGS
from schemas.codec import decode_log, encode_event
from schemas.events import SCHEMA_VERSION, DeliveryRecord, LogRecord, MessageDelivered
from schemas.ids import partition_of
from schemas.topics import DELIVERIES, LOG
from tests.harness import kafka
from tests.harness.stack import Stack

pytestmark = pytest.mark.real

CONVERSATION = "alice:bob"
PARTITION = partition_of(CONVERSATION, 4)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose topics this module may spoil."""
    with Stack(tmp_path_factory.mktemp("audit") / "stack") as stack:
        yield stack


def say(stack: Stack, body: str) -> int:
    sent = stack.run("send", "--as", "alice", "--to", "bob", body, check=True)
    seq: int = json.loads(sent.stdout)["seq"]
    return seq


def log_of(stack: Stack) -> list[LogRecord]:
    return [decode_log(record.value) for record in kafka.read_all(stack, LOG, PARTITION)]


def test_deviations_in_kafka_are_named_and_number_nothing_anew(own: Stack) -> None:
    assert [say(own, "one"), say(own, "two")] == [1, 2]
    clean = own.run("audit")
    assert (clean.returncode, "dense, once, in order, equal everywhere" in clean.stdout) == (
        0,
        True,
    ), clean.stdout
    assert "messages: 2\n" in clean.stdout
    assert "counters: 1\n" in clean.stdout, "the worker's counters were judged"

    first = log_of(own)[0]
    kafka.produce(own, LOG, PARTITION, encode_event(first))
    assert say(own, "three") == 3, (
        "a late append is harmless (R2), and the owner finds its own place again (R6)"
    )
    assert own.run("audit").returncode == 0

    forged = msgspec.structs.replace(first.taken[0], body="other")
    kafka.produce(own, LOG, PARTITION, encode_event(msgspec.structs.replace(first, taken=[forged])))
    judged = own.run("audit")
    assert judged.returncode == 1
    assert f"inconsistent-offsets (1): {MEANINGS['inconsistent-offsets']}" in judged.stdout
    assert f"{CONVERSATION}/1 is in the log again" in judged.stdout
    assert "other" not in judged.stdout.replace("other content", ""), "never a body in an output"

    wrong = MessageDelivered(CONVERSATION, 1, "alice", "phone", ["bob"], message_frame(forged))
    kafka.produce(own, DELIVERIES, 7, encode_event(DeliveryRecord(SCHEMA_VERSION, [wrong])))
    judged = own.run("audit")
    assert judged.returncode == 1
    assert f"{CONVERSATION}/1 is delivered with other content" in judged.stdout
    assert say(own, "four") == 4


def test_a_log_that_cannot_be_judged_says_so(own: Stack) -> None:
    kafka.produce(
        own, LOG, PARTITION, msgspec.msgpack.encode([SCHEMA_VERSION + 1, "from the future"])
    )
    judged = own.run("audit")
    assert judged.returncode == 1, "every service has answered"
    assert f"version {SCHEMA_VERSION + 1}" in judged.stderr
    assert "Traceback" not in judged.stderr
