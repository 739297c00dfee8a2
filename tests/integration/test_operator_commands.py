"""An operator's commands on a running stack: they show it as it is."""

import json
import os
import time

import pytest

from schemas.codec import encode_event
from schemas.codes import Code
from schemas.events import (
    SCHEMA_VERSION,
    DeadLetter,
    MessageSubmitted,
    NotificationRecord,
    NotificationsCancelled,
    SubmittedRecord,
)
from schemas.topics import DEAD_LETTERS, NOTIFICATIONS, SUBMITTED
from tests.harness import kafka
from tests.harness.stack import Stack

pytestmark = pytest.mark.real


def test_status_and_doctor_find_nothing_wrong(stack: Stack) -> None:
    until = time.monotonic() + 15
    while (status := stack.run("status")).returncode != 0 and time.monotonic() < until:
        time.sleep(0.5)  # what was said two seconds ago is shown
    assert status.returncode == 0, status.stdout + status.stderr
    assert status.stdout.startswith("all is well\n")
    for url in (*stack.gateway_urls, *(url.removeprefix("http://") for url in stack.worker_urls)):
        assert url in status.stdout
    shown = json.loads(stack.run("status", "--json").stdout)
    assert {part["report"]["kind"] for part in shown["parts"]} == {"gateway", "worker"}
    looked = stack.run("doctor")
    assert looked.returncode == 0, looked.stdout + looked.stderr
    for part in ("versions", "disk", "topics", "replication", "redis", "clocks", "processes"):
        assert f"ok   {part}" in looked.stdout, looked.stdout


def test_a_dead_letter_is_listed_shown_and_replayed(stack: Stack) -> None:
    partition, value = 2, os.urandom(20)
    place = kafka.watermarks(stack, DEAD_LETTERS, partition)[1]
    for code in (Code.RECORD_UNREADABLE, Code.SET_ASIDE):
        letter = DeadLetter(SCHEMA_VERSION, SUBMITTED, partition, 7, -1, code.number, value)
        kafka.produce(stack, DEAD_LETTERS, partition, encode_event(letter))
    listed = stack.run("dead-letters", "list", "--json", "--partition", "2")
    found = [json.loads(line) for line in listed.stdout.splitlines()][-2:]
    assert [one["place"] for one in found] == [f"2/{place}", f"2/{place + 1}"]
    assert [one["code"] for one in found] == [Code.RECORD_UNREADABLE.number, Code.SET_ASIDE.number]
    shown = stack.run("dead-letters", "show", f"2/{place}")
    assert "it cannot be read" in shown.stdout
    refused = stack.run("dead-letters", "replay", f"2/{place}", "--yes")
    assert (refused.returncode, "refused again" in refused.stderr) == (1, True)
    end = kafka.watermarks(stack, SUBMITTED, partition)[1]
    said = stack.run("dead-letters", "replay", f"2/{place + 1}")
    assert "would submit 20 bytes again" in said.stdout
    done = stack.run("dead-letters", "replay", f"2/{place + 1}", "--yes")
    assert done.returncode == 0, done.stderr
    (record,) = kafka.read_all(stack, SUBMITTED, partition)[-1:]
    assert record.offset >= end
    assert record.value == value


def test_what_people_wrote_is_shown_only_if_it_is_asked_for(stack: Stack) -> None:
    place = kafka.watermarks(stack, DEAD_LETTERS, 1)[1]
    item = MessageSubmitted("a:b", "a", "phone", bytes(16), 1, bytes(16), 0, "a secret")
    value = encode_event(SubmittedRecord(SCHEMA_VERSION, [item]))
    letter = DeadLetter(SCHEMA_VERSION, SUBMITTED, 1, 7, -1, Code.SET_ASIDE.number, value)
    kafka.produce(stack, DEAD_LETTERS, 1, encode_event(letter))
    shown = stack.run("dead-letters", "show", f"1/{place}").stdout
    assert "MessageSubmitted" in shown, shown
    assert "'sender': 'a'" in shown
    assert "a secret" not in shown
    assert "a secret" in stack.run("dead-letters", "show", f"1/{place}", "--bodies").stdout


def test_a_notification_that_was_not_taken_is_replayed_to_its_topic(stack: Stack) -> None:
    place = kafka.watermarks(stack, DEAD_LETTERS, 3)[1]
    one = NotificationsCancelled("a:b", "a", 1, 0)
    value = encode_event(NotificationRecord(SCHEMA_VERSION, one))
    letter = DeadLetter(SCHEMA_VERSION, NOTIFICATIONS, 3, 7, -1, Code.NOT_TAKEN.number, value)
    kafka.produce(stack, DEAD_LETTERS, 3, encode_event(letter))
    assert "NotificationsCancelled" in stack.run("dead-letters", "show", f"3/{place}").stdout
    done = stack.run("dead-letters", "replay", f"3/{place}", "--yes")
    assert done.returncode == 0, done.stderr
    assert kafka.read_all(stack, NOTIFICATIONS, 3)[-1].value == value
