"""A stack of SECURE=1: everybody logs in everywhere by TLS, each process may do what it needs, and
people talk as on any other."""

import contextlib
import http.client
import json
import os
import ssl
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
import uvloop
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from connectors.clickhouse.client import ClickHouseClient
from connectors.clickhouse.ports import ArchiveUnavailable
from connectors.kafka.acls import acls
from connectors.kafka.address import KafkaAddress
from connectors.kafka.broker_leaving import unregister
from connectors.tls import client_tls
from gateway.probe import STEPS
from gateway.queries.worker_transport import HttpWorkerTransport, WorkersUnavailable
from ops.local.brokers import brokers
from ops.local.certificates import certificates
from ops.local.home import Home
from ops.local.parts import clickhouse_url
from ops.local.security import KAFKA_ROLES, Security
from schemas.topics import all_topics
from tests.browser.conftest import start
from tests.contract.test_clickhouse_server import listening_ports
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


def page(stack: Stack, url: str, token: str = "", **headers: str) -> int:
    """Its status, asked by whoever trusts the stack's certificates only."""
    headers |= {"Authorization": f"Bearer {token}"} if token else {}
    trusted = ssl.create_default_context(cafile=stack.home / "tls/ca.pem")
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=5, context=trusted) as it:
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
        # 1: a partition has no snapshot yet; when the first is written is up to the worker
        assert done.returncode in ((0, 1) if command[0] == "snapshot" else (0,)), (command, done)
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
    assert page(stack, f"{worker}/health/") == 200
    assert page(stack, f"{worker}/sequencer/") == 401
    assert page(stack, f"{worker}/sequencer/", security.token("status")) == 200
    assert page(stack, f"{worker}/sequencer/page/0/?conversation=alice:bob") == 401
    assert page(stack, f"{worker}/sequencer/page/0/", security.token("status")) == 401
    with pytest.raises((OSError, http.client.HTTPException)):
        page(stack, f"http://127.0.0.1:{stack.base_port}/ready")
    right = KafkaAddress.parse(security.kafka("gateway", stack.kafka))
    for address in (KafkaAddress(stack.kafka), right._replace(password="w" * 32)):
        stranger = AdminClient({**address.librdkafka(), "log_level": 0})
        with pytest.raises(KafkaException):
            stranger.list_topics(timeout=1)
    assert AdminClient(right.librdkafka()).list_topics(timeout=5).topics


async def test_the_supervisor_logs_in_to_tell_the_controllers_of_a_dead_broker(
    stack: Stack,
) -> None:
    (broker,) = brokers(stack.home, stack.base_port, 1)
    supervisor = Security(Home(stack.home)).kafka("admin", stack.kafka)
    unknown = broker.number + 1
    assert not await unregister(unknown, [("127.0.0.1", broker.controller)], supervisor)


def test_no_port_of_the_stack_answers_in_clear_text(stack: Stack) -> None:
    """Every port on which one of its processes listens, whatever it is for."""
    security = Security(Home(stack.home))
    login = {
        "X-ClickHouse-User": "admin",
        "X-ClickHouse-Key": security.home.clickhouse_password("admin"),
    }
    ports = {
        name: listening_ports(part["pid"])
        for name, part in stack.parts().items()
        if name not in ("kafka", "redis")
    }
    assert all(stack.parts()[name]["port"] in found for name, found in ports.items())
    answered = set()
    for name, open_ones in ports.items():
        for port in open_ones:
            with contextlib.suppress(OSError, http.client.HTTPException):
                url = f"http://127.0.0.1:{port}/?query=SELECT+1"
                answered.add((name, page(stack, url, security.token("messages"), **login)))
    assert answered == {("clickhouse", 403)}, "the engine behind ClickHouse's TLS lets its front in"
    url = f"https://127.0.0.1:{stack.parts()['clickhouse']['port']}/?query=SELECT+1"
    assert page(stack, url, **login) == 200
    assert page(stack, url, **{**login, "X-ClickHouse-Key": "wrong"}) == 403


def test_a_part_that_trusts_another_authority_says_so(stack: Stack, tmp_path: Path) -> None:
    """Of workers and of ClickHouse, as a gateway's own clients ask them."""
    strangers = str(certificates(tmp_path).authority)
    worker = HttpWorkerTransport("t" * 32, client_tls(strangers))
    ours = clickhouse_url(Home(stack.home), stack.base_port, "gateway")
    archive = ClickHouseClient(f"{ours.partition('?')[0]}?ca={strangers}", 5.0)

    async def ask() -> None:
        with pytest.raises(WorkersUnavailable, match="certificate verify failed"):
            await worker.request("GET", f"{stack.worker_urls[0]}/health/")
        with pytest.raises(ArchiveUnavailable, match="certificate verify failed"):
            await archive.call(lambda client: client.query("SELECT 1"))
        await worker.close()
        await archive.close()

    uvloop.run(ask())
    asked = messenger(
        stack,
        "archive",
        "check",
        MESSENGER_CLICKHOUSE_ADMIN=f"https://a:b@127.0.0.1:{stack.parts()['clickhouse']['port']}?ca={strangers}",
    )
    assert asked.returncode == 3, asked
    (line,) = asked.stderr.splitlines()
    assert "certificate verify failed" in line


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
    until = time.monotonic() + 60
    while True:
        shown = json.loads(messenger(stack, "status", "--json").stdout)
        (node,) = (part["report"]["node"] for part in shown["parts"] if part["report"]["node"])
        probe = node["probe"]
        if probe and not probe["failed"] and set(probe["took"]) == set(STEPS):
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
