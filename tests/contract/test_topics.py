"""Topics in a real Kafka: created with what "acknowledged" means, checked, and mended."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from connectors.kafka.admin import TooFewBrokers, TopicsAdmin
from connectors.kafka.start_checks import TopicsWrong, require_topics
from connectors.kafka.wanted_topics import WantedTopics
from schemas.topics import CURSORS, LOG, PRESENCE, RECEIPTS, SUBMITTED, all_topics
from tests.harness.kafka_server import PARTITIONS, SLOTS, KafkaServer
from tests.harness.ports import free_base_port

LOCAL = WantedTopics(PARTITIONS, SLOTS, 1)


def messenger(server: KafkaServer, *command: str, **settings: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    given = {
        "MESSENGER_KAFKA": server.servers,
        "MESSENGER_PARTITIONS": str(PARTITIONS),
        "MESSENGER_SLOTS": str(SLOTS),
        "MESSENGER_LOCAL": "1",
    }
    ended = subprocess.run(
        [sys.executable, "-m", "ops", *command],
        env={**os.environ, **given, **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, ended.stdout, ended.stderr


def settings_of(server: KafkaServer, topic: str) -> dict[str, str]:
    """Those in force, as the broker says."""
    admin = AdminClient({"bootstrap.servers": server.servers})
    (asked,) = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]).values()
    return {name: entry.value for name, entry in asked.result().items()}


def set_(server: KafkaServer, topic: str, **settings: str) -> None:
    """As an operator does; __ stands for a dot. Returns when it is in force."""
    wanted = {name.replace("__", "."): value for name, value in settings.items()}
    entries = [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        for name, value in wanted.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    admin = AdminClient({"bootstrap.servers": server.servers})
    for done in admin.incremental_alter_configs([resource]).values():
        done.result()
    until = time.monotonic() + 15
    while not wanted.items() <= settings_of(server, topic).items():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.fixture(autouse=True)
def _created(server: KafkaServer) -> None:
    """Other suites on this server may have deleted topics, or changed their settings."""
    TopicsAdmin(server.servers, LOCAL).create()


def test_created_topics_have_what_their_files_say(server: KafkaServer) -> None:
    for topic in all_topics().values():
        has = settings_of(server, topic.name)
        wanted = LOCAL.settings(topic)
        assert {name: has[name] for name in wanted} == wanted
    checked = TopicsAdmin(server.servers, LOCAL).check()
    assert (checked.problems, checked.notes) == ([], [])


def test_what_is_less_than_it_must_be_is_named_and_mended_and_nothing_more_is_changed(
    server: KafkaServer,
) -> None:
    admin = TopicsAdmin(server.servers, LOCAL)
    set_(server, LOG, unclean__leader__election__enable="true", max__message__bytes="1000")
    set_(server, PRESENCE, max__message__bytes="9000000")
    with pytest.raises(TopicsWrong) as wrong:
        require_topics(server.servers, LOCAL)
    assert "\n" not in str(wrong.value)
    for said in ("messages: unclean.leader.election.enable is true", "max.message.bytes is 1000"):
        assert said in str(wrong.value)
    assert sorted(admin.create()) == [
        "messages: max.message.bytes is 3145728 now",
        "messages: unclean.leader.election.enable is false now",
    ]
    until = time.monotonic() + 15
    while admin.check().problems:  # until it is in force
        assert time.monotonic() < until
        time.sleep(0.05)
    loud, note = require_topics(server.servers, LOCAL)
    assert loud.startswith("ONE COPY")
    assert note == "presence: max.message.bytes is 9000000, and its file says 307200"
    set_(server, PRESENCE, max__message__bytes="307200")


def test_flush_always_is_in_force_in_the_broker(server: KafkaServer) -> None:
    code, _, errors = messenger(server, "topics", "check", MESSENGER_FLUSH="always")
    assert code == 1
    assert "messages.submitted: flush.messages is " in errors
    code, said, errors = messenger(server, "topics", "create", MESSENGER_FLUSH="always")
    assert code == 0, errors
    later = {name for name in all_topics() if settings_of(server, name)["flush.messages"] != "1"}
    assert later == {RECEIPTS, CURSORS}
    for topic, flush in ((SUBMITTED, "always"), (CURSORS, "later")):
        line = f"{topic}: 32 partitions, replicas 1, min.insync.replicas 1, flush {flush}\n"
        assert line in said
    assert messenger(server, "topics", "check")[0] == 0  # more than this one wants


def test_one_copy_is_refused_but_in_local_mode_where_it_is_said_loudly(
    server: KafkaServer, tmp_path: Path
) -> None:
    code, _, errors = messenger(server, "topics", "check")
    assert (code, errors.count("ONE COPY")) == (0, 1)
    given = {
        "MESSENGER_LOCAL": "0",
        "MESSENGER_REDIS": "redis://127.0.0.1:1/0",
        "MESSENGER_STATE_DIR": str(tmp_path),
        "MESSENGER_WEB_PORT": str(free_base_port()),
        "MESSENGER_TOKEN_SECRET": "s" * 32,
    }
    for command in (("worker", "sequencer"), ("worker", "archiver"), ("gateway",)):
        code, _, errors = messenger(server, *command, **given)
        (line,) = errors.splitlines()
        assert code == 2
        assert "cursors: partitions 0, 1, 2, 3, 4 … have 1 of 3 replicas" in line
        code, _, errors = messenger(server, *command, **given, MESSENGER_REPLICATION="1")
        (line,) = errors.splitlines()
        assert code == 2
        assert "MESSENGER_REPLICATION" in line


def test_too_few_brokers_are_named(server: KafkaServer) -> None:
    admin = AdminClient({"bootstrap.servers": server.servers})
    admin.delete_topics([PRESENCE])[PRESENCE].result()
    try:
        until = time.monotonic() + 15
        while PRESENCE in admin.list_topics(timeout=5).topics:
            assert time.monotonic() < until
            time.sleep(0.1)
        with pytest.raises(TooFewBrokers, match="MESSENGER_REPLICATION"):
            TopicsAdmin(server.servers, WantedTopics(PARTITIONS, SLOTS, 3)).create()
        code, _, errors = messenger(server, "topics", "create", MESSENGER_REPLICATION="3")
        assert code == 2
        assert len(errors.splitlines()) == 1
    finally:
        TopicsAdmin(server.servers, LOCAL).create()
