"""Faults that are planted in a real Kafka, ClickHouse and Redis: `messenger audit` says the line
that docs/AUDIT.md has of each, and no longer if the check that finds it is switched off."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import redis as redis_py

from connectors.clickhouse.admin import ArchiveAdmin
from connectors.kafka.admin import TopicsAdmin
from connectors.kafka.wanted_topics import WantedTopics
from connectors.redis.recent import window_key
from ops.audit.archive import ArchiveAudit
from ops.audit.audit import Audit, Sources, Terms
from ops.audit.claims import Claims
from ops.audit.cursors import CursorAudit
from ops.audit.soft_state import RedisAudit
from ops.audit.verdict import CLEAN, Verdict
from schemas.codec import encode_event
from schemas.topics import CURSORS, DELIVERIES, LOG, SUBMITTED
from tests.harness import kafka
from tests.harness.stack import Stack
from tests.planted.memory import SLOTS
from tests.planted.plant import (
    PARTITIONS,
    SLOT,
    InputSeen,
    Laid,
    Plant,
    Store,
    honest_log,
    input_values,
    spoil,
)
from tests.planted.stores import ITS_SLOT, NODE, STORE_PLANTS
from tests.planted.table import ALL_PLANTS

pytestmark = pytest.mark.real

AUDIT = ("audit", "--without-workers", "--wait", "1")
CHECKS = {judge.__name__: judge for judge in (ArchiveAudit, CursorAudit, Claims, RedisAudit)}


class Spoiled(NamedTuple):
    """`findings` are what `messenger audit --json` said, and `code` its exit code."""

    stack: Stack
    laid: dict[str, Laid]
    code: int
    findings: list[dict[str, Any]]


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spoiled]:
    """A stack without workers; it holds what honest and faulty workers have written."""
    folder = tmp_path_factory.mktemp("planted") / "stack"
    with Stack(folder, workers=0, gateways=0, archivers=0) as stack:
        clean = stack.run(*AUDIT)
        assert (clean.returncode, CLEAN in clean.stdout) == (0, True), clean.stdout + clean.stderr
        laid: dict[str, Laid] = {}
        stores: dict[str, Store] = {}
        delivered: list[bytes] = []
        for partition in range(PARTITIONS):
            kafka.produce_many(stack, SUBMITTED, partition, input_values(ALL_PLANTS, partition))
            inputs = [
                InputSeen(record.offset, record.timestamp, record.value)
                for record in kafka.read_all(stack, SUBMITTED, partition)
            ]
            found = spoil(ALL_PLANTS, partition, honest_log(inputs), len(delivered))
            kafka.produce_many(stack, LOG, partition, found.log)
            delivered += found.delivered
            laid |= found.laid
            cursors = [one for store in found.stores.values() for one in store.cursors]
            kafka.produce_many(
                stack,
                CURSORS,
                partition,
                map(encode_event, cursors),
                (f"{one.conversation} {one.user}".encode() for one in cursors),
            )
            stores |= found.stores
        kafka.produce_many(stack, DELIVERIES, SLOT, delivered)
        fill_archive(stack, stores)
        fill_redis(stack, stores)
        judged = stack.run(*AUDIT, "--json")
        lines = [json.loads(line) for line in judged.stdout.splitlines()]
        assert lines, judged.stderr
        yield Spoiled(stack, laid, judged.returncode, lines[:-1])


def log_id_of(stack: Stack) -> str:
    return TopicsAdmin(stack.kafka, WantedTopics(PARTITIONS, SLOTS)).ids()[SUBMITTED]


def fill_archive(stack: Stack, stores: dict[str, Store]) -> None:
    admin = ArchiveAdmin(stack.clickhouse("admin"))
    admin.require_numbering(
        TopicsAdmin(stack.kafka, WantedTopics(PARTITIONS, SLOTS)).ids()[SUBMITTED]
    )
    admin.run("SYSTEM STOP MERGES archive.messages")  # of two contents one would vanish
    admin.insert([row for store in stores.values() for row in store.rows[:3]])
    admin.insert([row for store in stores.values() for row in store.rows[3:]])
    admin.insert_cursors([row for store in stores.values() for row in store.archived_cursors])
    admin.close()


def fill_redis(stack: Stack, stores: dict[str, Store]) -> None:
    log_id = log_id_of(stack)
    with redis_py.Redis(port=stack.redis_port) as redis:
        redis.set(f"slot:{ITS_SLOT}", NODE)
        for conversation, store in stores.items():
            for window in store.windows:
                lines = b"".join([frame + b"\n" for frame in window.frames])
                head = b"%016d %016d\n" % (window.first, window.last)
                redis.set(window_key(log_id, conversation), head + lines)
            for user, device, value in store.routes:
                redis.hset(f"routes:{user}", device, value)


@pytest.mark.parametrize("plant", ALL_PLANTS, ids=lambda plant: plant.fault)
def test_the_judge_finds_what_is_planted(spoiled: Spoiled, plant: Plant) -> None:
    finding = plant.finding(spoiled.laid[plant.fault])
    assert finding.fields() in spoiled.findings
    assert spoiled.code == 1


def test_a_person_reads_the_same_lines(spoiled: Spoiled) -> None:
    judged = spoiled.stack.run(*AUDIT)
    assert judged.returncode == 1
    lines = judged.stdout.splitlines()
    for plant in ALL_PLANTS:
        assert plant.finding(spoiled.laid[plant.fault]).line() in lines
    assert "message 2" not in judged.stdout, "never a body in an output"


@pytest.mark.parametrize("plant", STORE_PLANTS, ids=lambda plant: plant.fault)
def test_what_is_planted_is_not_found_without_its_check(
    spoiled: Spoiled, plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge, check = plant.check.split(".")
    monkeypatch.setattr(CHECKS[judge], check, lambda *arguments: None)
    monkeypatch.setattr("ops.audit.soft_state.LEASE_SECONDS", -1.0)  # the lease here never ends
    stack, verdict = spoiled.stack, Verdict()
    sources = Sources(stack.kafka, PARTITIONS, SLOTS, (), stack.redis, stack.clickhouse("gateway"))
    with Audit(sources, Terms(patience=0.0), verdict) as audit:
        while not audit.read_on():
            pass
        audit.finish()
    expected = {
        other.finding(spoiled.laid[other.fault])
        for other in ALL_PLANTS
        if other.check != plant.check
    }
    assert expected <= set(verdict.findings)
