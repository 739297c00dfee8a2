"""The judge on real topics: what a paused worker or a wrong delivery leaves there is named, and
numbers nothing anew."""

import json
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import rocksdict

from agents.rules.fanout import message_frame
from ops.audit.verdict import CLEAN, MEANINGS
from ops.local.process import die_with_parent
from schemas.codec import decode_log, encode_event
from schemas.events import SCHEMA_VERSION, DeliveryRecord, LogRecord, MessageDelivered
from schemas.ids import partition_of
from schemas.topics import DELIVERIES, LOG
from tests.harness import kafka
from tests.harness.stack import Stack

pytestmark = pytest.mark.real

CONVERSATION = "alice:bob"
PARTITION = partition_of(CONVERSATION, 4)
SLOT = 7
FROM_THE_FUTURE = msgspec.msgpack.encode([SCHEMA_VERSION + 1, "from the future"])
NEWER = f"record of schema version {SCHEMA_VERSION + 1}; this code reads up to {SCHEMA_VERSION}"


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


def test_a_record_of_newer_code_is_no_finding_and_no_outage(own: Stack) -> None:
    kafka.produce(own, DELIVERIES, SLOT, FROM_THE_FUTURE)
    judged = own.run("audit")
    assert (judged.returncode, judged.stdout) == (2, "")
    assert judged.stderr == f"messenger: {DELIVERIES}/{SLOT} offset 0: {NEWER}\n"
    kafka.expire(own, DELIVERIES, SLOT)
    assert own.run("audit").returncode == 0


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
    assert f"{CONVERSATION}/1: it is in the log again with other content" in judged.stdout
    assert "other" not in judged.stdout.replace("other content", ""), "never a body in an output"

    wrong = MessageDelivered(CONVERSATION, 1, "alice", "phone", ["bob"], message_frame(forged))
    kafka.produce(own, DELIVERIES, SLOT, encode_event(DeliveryRecord(SCHEMA_VERSION, [wrong])))
    judged = own.run("audit")
    assert judged.returncode == 1
    assert f"{CONVERSATION}/1: it is delivered with other content" in judged.stdout
    assert say(own, "four") == 4


def test_it_runs_beside_production_and_goes_on_from_its_checkpoint(
    own: Stack, tmp_path: Path
) -> None:
    checkpoint, output = tmp_path / "checkpoint", tmp_path / "output"
    every = ["--follow", "--every", "0.2", "--rate", "2000", "--checkpoint", str(checkpoint)]
    with output.open("w") as file:
        following = subprocess.Popen(
            [sys.executable, "-m", "ops", "audit", *every],
            env=own.environment(),
            stdout=file,
            stderr=file,
            preexec_fn=die_with_parent,
        )
    try:
        wait_for(output, "it is delivered with other content")
        number = say(own, "while it follows")
        wait_for(output, f"messages: {number}\n")
        forged = msgspec.structs.replace(log_of(own)[0].taken[0], body="another")
        late = msgspec.structs.replace(log_of(own)[0], taken=[forged])
        place = kafka.watermarks(own, LOG, PARTITION)[1]
        kafka.produce(own, LOG, PARTITION, encode_event(late))
        wait_for(
            output, f"inconsistent-offsets: {LOG}/{PARTITION} offset {place}, {CONVERSATION}/1"
        )
        following.terminate()
        assert following.wait(20) == 1
    finally:
        following.kill()
        following.wait()
    assert "Traceback" not in output.read_text()
    again = own.run("audit", "--checkpoint", str(checkpoint))
    assert (again.returncode, CLEAN in again.stdout) == (0, True), again.stdout + again.stderr
    assert "messages: " not in again.stdout, "it reads nothing again"
    checkpoint.write_bytes(b"not a checkpoint")
    refused = own.run("audit", "--checkpoint", str(checkpoint))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == (
        f"messenger: {checkpoint} is no checkpoint, or damaged; move it away to begin anew\n"
    )


def wait_for(output: Path, part: str) -> None:
    until = time.monotonic() + 30
    while part not in output.read_text():
        assert time.monotonic() < until, output.read_text()
        time.sleep(0.05)


def test_a_counter_in_rocksdb_that_is_ahead_is_named(own: Stack) -> None:
    own.stop()
    (folder,) = own.home.glob(f"worker-*/partition-{PARTITION}")
    table = rocksdict.Rdict(str(folder), options=rocksdict.Options(raw_mode=True))
    number, when = struct.unpack(">QQ", table[b"s" + CONVERSATION.encode()])
    table[b"s" + CONVERSATION.encode()] = struct.pack(">QQ", number + 3, when)
    table.close()
    own.start()
    judged = own.run("audit")
    assert judged.returncode == 1
    assert (
        f"unseen: table of the sequencer/{PARTITION}, {CONVERSATION}/{number}: the worker's table "
        f"counts {number + 3}, the log {number}"
    ) in judged.stdout.splitlines()


def test_a_log_that_cannot_be_judged_says_so(own: Stack) -> None:
    newer = kafka.watermarks(own, LOG, PARTITION)[1]
    kafka.produce(own, LOG, PARTITION, FROM_THE_FUTURE)
    judged = own.run("audit")
    assert judged.returncode == 1, "what it found before that record is said"
    assert judged.stderr == f"messenger: {LOG}/{PARTITION} offset {newer}: {NEWER}\n"
