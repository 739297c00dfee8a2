"""A stack of SECURE=1: everybody logs in everywhere by TLS, each process may do what it needs, and
people talk as on any other."""

import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from connectors.kafka.acls import acls
from connectors.kafka.address import KafkaAddress
from ops.local.home import Home
from ops.local.security import KAFKA_ROLES, Security
from schemas.topics import all_topics
from tests.browser.conftest import start
from tests.harness.stack import Stack

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("secure")
    with Stack(
        home, archivers=1, cursors=None, presence=None, secure=True, probe_seconds=1.0
    ) as stack:
        yield stack


def messenger(
    stack: Stack, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """`messenger …` of an operator who knows the stack's folder and nothing else."""
    environment = {
        **{name: value for name, value in os.environ.items() if "MESSENGER_" not in name},
        "MESSENGER_HOME": str(stack.home),
        **environment,
    }
    return subprocess.run(
        [sys.executable, "-m", "ops", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def page(url: str, token: str = "") -> int:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=5) as it:
            return int(it.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_people_talk_and_read_what_they_missed_and_the_judge_finds_nothing(stack: Stack) -> None:
    for number in range(3):
        sent = messenger(stack, "send", "--as", "alice", "--to", "bob", f"message {number}")
        assert sent.returncode == 0, sent.stderr
    shown = messenger(stack, "history", "--as", "bob", "--with", "alice")
    assert [f"message {n}" in shown.stdout for n in range(3)] == [True] * 3, shown
    judged = messenger(stack, "audit")
    assert judged.returncode == 0, judged.stdout + judged.stderr
    listed = messenger(stack, "partition", "list", "--json")
    places: list[dict[str, Any]] = [json.loads(line) for line in listed.stdout.splitlines()]
    assert {place["state"] for place in places} == {"running"}, listed
    assert {place["stage"] for place in places} >= {"sequencer", "cursors", "presence"}
    assert stack.unhealthy() == {}


def test_an_operators_commands_find_the_logins_of_the_stack(stack: Stack) -> None:
    for command in (("snapshot", "list"), ("archive", "check"), ("devices", "--as", "alice")):
        done = messenger(stack, *command)
        assert done.stderr == "", (command, done)
        assert done.returncode == (1 if command[0] == "snapshot" else 0), (command, done)
    revoked = messenger(stack, "revoke", "device", "alice", "made-up")
    assert revoked.returncode == 0, revoked


def test_who_does_not_trust_the_certificate_is_told_so_at_once(
    stack: Stack, tmp_path: Path
) -> None:
    url = f"https://127.0.0.1:{stack.base_port}"
    elsewhere = {"MESSENGER_HOME": str(tmp_path), "MESSENGER_URL": url}
    for command in (
        ("send", "--to", "bob", "hi"),
        ("history", "--with", "bob"),
        ("devices",),
    ):
        asked = messenger(stack, *command, "--as", "alice", "--token", "t", **elsewhere)
        assert asked.returncode == 3, asked
        (line,) = asked.stderr.splitlines()
        assert "certificate is not trusted" in line
        assert "SSL_CERT_FILE" in line
    trusted = {**elsewhere, "SSL_CERT_FILE": str(stack.home / "tls/ca.pem")}
    asked = messenger(stack, "devices", "--as", "alice", "--token", "t", **trusted)
    assert "401" in asked.stderr, asked


def test_no_process_asked_for_more_than_it_may(stack: Stack) -> None:
    for part in stack.parts():
        found = stack.log(part)
        for refused in ("AUTHORIZATION", "uthorization failed", "NOPERM", "NOAUTH", ": 401"):
            assert refused not in found, (part, refused)


def test_nobody_gets_in_without_a_login(stack: Stack) -> None:
    worker = stack.worker_urls[0]
    security = Security(Home(stack.home))
    assert page(f"{worker}/health/") == 200
    assert page(f"{worker}/sequencer/") == 401
    assert page(f"{worker}/sequencer/", security.token("status")) == 200
    assert page(f"{worker}/sequencer/page/0/?conversation=alice:bob") == 401
    assert page(f"{worker}/sequencer/page/0/", security.token("status")) == 401
    with pytest.raises((OSError, http.client.HTTPException)):
        page(f"http://127.0.0.1:{stack.base_port}/ready")
    right = KafkaAddress.parse(security.kafka("gateway", stack.kafka))
    for address in (KafkaAddress(stack.kafka), right._replace(password="w" * 32)):
        stranger = AdminClient({**address.librdkafka(), "log_level": 0})
        with pytest.raises(KafkaException):
            stranger.list_topics(timeout=1)
    assert AdminClient(right.librdkafka()).list_topics(timeout=5).topics


def test_what_a_user_may_not_do_kafka_refuses(stack: Stack) -> None:
    security = Security(Home(stack.home))
    for user, roles in KAFKA_ROLES.items():
        address = KafkaAddress.parse(security.kafka(user, stack.kafka))
        for topic in all_topics().values():
            if set(roles) & set(topic.writers):
                continue
            errors: list[Any] = []
            producer = Producer({**address.librdkafka(), "log_level": 0})
            producer.produce(
                topic.name, b"x", on_delivery=lambda error, _, kept=errors: kept.append(error)
            )
            producer.flush(10)
            assert [error.name() for error in errors] == ["TOPIC_AUTHORIZATION_FAILED"], (
                user,
                topic.name,
            )
        assert acls(roles)


def test_secrets_are_in_files_that_only_their_owner_reads(stack: Stack) -> None:
    kept = ["kafka-", "redis-", "clickhouse-", "token-secret", "status-token", "messages-token"]
    files = [file for file in stack.home.iterdir() if file.is_file()]
    secret = [file for file in files if file.name.startswith(tuple(kept))]
    secret += [*(stack.home / "tls").iterdir(), stack.home / "kafka/server.properties"]
    assert len(secret) > 10
    for file in secret:
        assert file.stat().st_mode & 0o077 == 0, file
    for part in stack.parts().values():
        command = Path(f"/proc/{part['pid']}/cmdline").read_text()
        for file in files:
            if file.name.startswith(("kafka-", "token-")):
                assert file.read_text() not in command, (file.name, command)


def test_the_probe_gets_through_and_the_judge_finds_nothing(stack: Stack) -> None:
    until = time.monotonic() + 30
    while True:
        shown = json.loads(messenger(stack, "status", "--json").stdout)
        (node,) = (part["report"]["node"] for part in shown["parts"] if part["report"]["node"])
        probe = node["probe"]
        if probe and not probe["failed"] and set(probe["took"]) == {"send", "history", "archive"}:
            break
        assert time.monotonic() < until, shown["findings"]
        time.sleep(0.5)
    assert node["connections"] == 0, "a probe is no device"
    judged = messenger(stack, "audit")
    assert judged.returncode == 0, judged.stdout + judged.stderr


def test_the_overview_page_asks_for_the_token(stack: Stack) -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        browser = start(folder)
        try:
            browser.get(f"{stack.worker_urls[0]}/")
            seen = WebDriverWait(browser, 15)
            token = browser.find_element(By.ID, "token")
            seen.until(lambda page: token.is_displayed())
            token.send_keys("x" * 32, Keys.ENTER)
            wrong = browser.find_element(By.ID, "token-error")
            seen.until(lambda page: "does not take this token" in wrong.text)
            assert browser.find_elements(By.CSS_SELECTOR, "#main *") == []
            token.send_keys(Security(Home(stack.home)).token("status"), Keys.ENTER)
            seen.until(lambda page: page.find_elements(By.CSS_SELECTOR, "#gateways tbody tr"))
            assert not token.is_displayed()
        finally:
            browser.quit()
