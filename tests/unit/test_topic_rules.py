"""What a process demands of the topics in Kafka, and what it only reports."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from connectors.environment import SettingsError, load
from connectors.kafka import topic_rules
from connectors.kafka.topic_rules import FoundTopic
from connectors.kafka.wanted_topics import WantedTopics, one_copy, wanted_topics
from ops.cli import main
from ops.commands.topics import TopicsSettings
from schemas.topics import (
    CURSORS,
    DELIVERIES,
    LOG,
    NOTIFICATIONS,
    RECEIPTS,
    SUBMITTED,
    Topic,
    all_topics,
)

ROOT = Path(__file__).parents[2]
THREE = WantedTopics(4, 8)
TOPICS = list(all_topics().values())
FOR_EVER = str(2**63 - 1)


def found(topic: Topic, wanted: WantedTopics = THREE, **changed: str) -> FoundTopic:
    """A topic as `wanted`, but for these settings; __ stands for a dot."""
    settings = {"flush.messages": FOR_EVER, **wanted.settings(topic)}
    settings |= {name.replace("__", "."): value for name, value in changed.items()}
    replicas = dict.fromkeys(range(wanted.count(topic)), wanted.copies(topic).replicas)
    return FoundTopic(replicas, settings)


def wanted_by(**settings: str) -> WantedTopics:
    given = {f"MESSENGER_{name.upper()}": value for name, value in settings.items()}
    return wanted_topics(load(TopicsSettings, {"MESSENGER_KAFKA": "k", **given}))


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_each_topic_is_kept_by_three_brokers_and_acknowledged_by_two(topic: Topic) -> None:
    assert THREE.copies(topic) == (3, 2)
    settings = THREE.settings(topic)
    assert settings["min.insync.replicas"] == "2"
    assert settings["unclean.leader.election.enable"] == "false"
    assert topic_rules.problems(topic, THREE, found(topic)) == []
    assert topic_rules.changes(topic, THREE, found(topic)) == {}


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_one_partition_with_too_few_replicas_is_too_few(topic: Topic) -> None:
    has = found(topic)
    last = max(has.replicas)
    for replicas in (1, 2):
        few = has._replace(replicas={**has.replicas, last: replicas})
        (line,) = topic_rules.problems(topic, THREE, few)
        assert f"{topic.name}: partition {last} has {replicas} of 3 replicas" in line
    assert topic_rules.problems(topic, THREE, has._replace(replicas={**has.replicas, 0: 5})) == []


def test_what_is_searched_by_time_has_a_record_at_each_offset() -> None:
    """streams/inputs.py:offset_since reads one record at an offset, and would wait in vain at one
    that was compacted away."""
    for name in (LOG, NOTIFICATIONS):
        assert all_topics()[name].config["cleanup.policy"] == "delete"


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("min.insync.replicas", "1"),
        ("unclean.leader.election.enable", "true"),
        ("cleanup.policy", "compact,delete"),
        ("max.message.bytes", "1000"),
        ("message.timestamp.type", "CreateTime"),
        ("message.timestamp.type", ""),
    ],
)
def test_what_makes_records_vanish_or_be_refused_stops_a_process_and_can_be_set(
    setting: str, value: str
) -> None:
    topic = all_topics()[LOG]
    wrong = found(topic, THREE, **{setting.replace(".", "__"): value})
    (line,) = topic_rules.problems(topic, THREE, wrong)
    assert f"messages: {setting} is {value or 'not known'}, not " in line
    assert "messenger topics create" in line
    assert topic_rules.changes(topic, THREE, wrong) == {setting: THREE.settings(topic)[setting]}


@pytest.mark.parametrize(
    ("setting", "older", "newer"),
    [
        ("retention.ms", "3600000", "-1"),
        ("segment.ms", "30000", "60000"),
        ("max.message.bytes", "3145728", "8388608"),
        ("min.insync.replicas", "2", "3"),
    ],
)
def test_a_setting_that_two_versions_want_differently_stops_neither_of_them(
    setting: str, older: str, newer: str
) -> None:
    """The newer one's `messenger topics create` sets more; then the older one starts, too, says
    that it is otherwise, and takes nothing back."""
    old = all_topics()[DELIVERIES]
    if setting == "retention.ms":
        old = replace(old, retention_ms=int(older))
    else:
        old = replace(old, config={**old.config, setting: older})
    has = found(old, THREE, **{setting.replace(".", "__"): newer})
    assert topic_rules.problems(old, THREE, has) == []
    assert topic_rules.changes(old, THREE, has) == {}
    assert [line for line in topic_rules.notes(old, THREE, has) if f"{setting} is {newer}" in line]


def test_more_copies_than_there_are_are_demanded_and_never_set() -> None:
    topic = all_topics()[LOG]
    has = found(topic, min__insync__replicas="1")
    has = has._replace(replicas=dict.fromkeys(has.replicas, 1))
    assert len(topic_rules.problems(topic, THREE, has)) == 2
    assert topic_rules.changes(topic, THREE, has) == {}


def test_records_that_are_kept_for_less_long_than_the_file_says_are_reported_and_mended() -> None:
    topic = all_topics()[LOG]
    has = found(topic, retention__ms="1000")
    assert topic_rules.problems(topic, THREE, has) == []
    assert topic_rules.notes(topic, THREE, has) == [
        f"messages: retention.ms is 1000, and its file says {topic.retention_ms}"
    ]
    assert topic_rules.changes(topic, THREE, has) == {"retention.ms": str(topic.retention_ms)}


def test_one_copy_is_for_local_mode_or_for_one_broker_that_flushes_and_is_said_loudly() -> None:
    assert one_copy(wanted_by()) is None
    for settings in ({"replication": "1"}, {"replication": "1", "local": "0"}):
        with pytest.raises(SettingsError, match="MESSENGER_REPLICATION"):
            wanted_by(**settings)
    for local in (wanted_by(local="1"), wanted_by(local="1", replication="1")):
        assert {local.copies(topic) for topic in TOPICS} == {(1, 1)}
        assert "or its power" in (one_copy(local) or "")
    three = wanted_by(local="1", replication="3")
    assert {three.copies(topic) for topic in TOPICS} == {(3, 2)}
    assert one_copy(three) is None
    flushed = wanted_by(replication="1", flush="always")
    assert "ONE COPY" in (one_copy(flushed) or "")
    assert "or its power" not in (one_copy(flushed) or "")
    for replication in ("0", "10", "three"):
        with pytest.raises(SettingsError, match="MESSENGER_REPLICATION"):
            wanted_by(replication=replication)
    with pytest.raises(SettingsError, match="MESSENGER_FLUSH"):
        wanted_by(flush="sometimes")


def test_with_flush_always_every_topic_whose_records_nobody_says_again_waits_for_the_disk() -> None:
    flushed = wanted_by(local="1", flush="always")
    later = {topic.name for topic in TOPICS if "flush.messages" not in flushed.settings(topic)}
    assert later == {RECEIPTS, CURSORS}
    topic = all_topics()[SUBMITTED]
    has = found(topic, flushed, flush__messages=FOR_EVER)
    (line,) = topic_rules.problems(topic, flushed, has)
    assert f"messages.submitted: flush.messages is {FOR_EVER}, not 1" in line
    assert topic_rules.changes(topic, flushed, has) == {"flush.messages": "1"}
    assert topic_rules.problems(topic, wanted_by(local="1"), found(topic, flushed)) == []
    assert topic_rules.changes(topic, wanted_by(local="1"), found(topic, flushed)) == {}
    assert topic_rules.describe(topic, found(topic, flushed)).endswith("flush always")
    assert topic_rules.describe(topic, found(topic)).endswith(
        "4 partitions, replicas 3, min.insync.replicas 2, flush later"
    )


def test_a_missing_topic_and_another_number_of_partitions_stop_a_process() -> None:
    topic = all_topics()[DELIVERIES]
    (line,) = topic_rules.problems(topic, THREE, None)
    assert "messenger topics create" in line
    (line,) = topic_rules.problems(topic, THREE._replace(slots=9), found(topic))
    assert "deliveries: 8 partitions, not 9" in line
    assert "MESSENGER_SLOTS" in line
    assert topic_rules.problems(topic, THREE._replace(slots=7), found(topic)) == []
    assert "8 partitions, not 7" in (
        topic_rules.too_many(topic, THREE._replace(slots=7), found(topic)) or ""
    )
    assert topic_rules.too_many(topic, THREE, found(topic)) is None


def test_the_number_of_partitions_cannot_be_changed_and_the_command_says_why() -> None:
    asked = CliRunner().invoke(main, ["topics", "reshape", "--partitions", "8"])
    assert asked.exit_code == 2
    (line,) = asked.output.splitlines()
    assert "cannot be changed to 8" in line
    assert "numbered from 1 again" in line
    for document in re.findall(r"docs/[\w/.-]+\.md", line):
        assert (ROOT / document).exists()
