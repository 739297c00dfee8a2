"""A gateway's health says within 5 s that Kafka, Redis or ClickHouse is away, on the real
services."""

import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from connectors.redis.routes import LEASE_SECONDS
from tests.harness.stack import Stack
from tests.integration.test_gateway_start import environment, process, until_it_says

pytestmark = pytest.mark.real

_SAID_SECONDS = 5.0 + 2.0
"""The second summand is what asking, and a machine that does other things, may add."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """For this file: its parts are paused."""
    with Stack(tmp_path_factory.mktemp("health"), archivers=1) as running:
        yield running


def page(stack: Stack, path: str) -> tuple[int, list[str]]:
    """(status, problems)."""
    try:
        with urllib.request.urlopen(f"{stack.gateway_urls[0]}{path}", timeout=2) as answer:
            return answer.status, json.load(answer)["problems"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)["problems"]


def wait(stack: Stack, seconds: float, *words: str) -> None:
    """Until the gateway has just these problems, one for each word."""
    until = time.monotonic() + seconds
    while True:
        status, problems = page(stack, "/health")
        same = [word in problem for word, problem in zip(words, problems, strict=False)]
        if len(problems) == len(words) and all(same) and status == (503 if words else 200):
            break
        assert time.monotonic() < until, (status, problems)
        time.sleep(0.1)


def wait_for_ready(stack: Stack, status: int) -> None:
    until = time.monotonic() + LEASE_SECONDS + 2
    while page(stack, "/ready")[0] != status:
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.mark.parametrize("service", ["kafka", "redis", "clickhouse"])
def test_a_service_that_stands_still_is_said_within_5_s_and_that_it_is_back(
    lab: Stack, service: str
) -> None:
    """By the gateway and, of what it and others say, by `messenger local status`."""
    wait(lab, 30)
    assert lab.run("local", "status").returncode == 0
    before = len(lab.log("gateway-1"))  # ClickHouse may have started after the gateway
    lab.kill(service, signal.SIGSTOP)
    try:
        wait(lab, _SAID_SECONDS, f"{service} is unreachable")
        told, shown = lab.run("local", "status"), lab.run("local", "status", "--json")
        if service == "redis":
            wait_for_ready(lab, 503)  # it cannot write the routes of devices that come
        else:
            assert page(lab, "/ready")[0] == 200, "devices may come"
    finally:
        lab.kill(service, signal.SIGCONT)
    parts = json.loads(shown.stdout)
    assert told.returncode == 1
    # a process that is stopped still accepts connections; only an answer shows that it works
    assert parts[service]["problem"] == "it does not answer within 2 s"
    assert f"{service} is unreachable for " in parts["gateway-1"]["problem"]
    assert f"{service} is unreachable for " in told.stdout
    wait(lab, 15)
    lab.wait_healthy(30)
    log = lab.log("gateway-1")[before:]
    assert log.count(f"{service} is unreachable") == 1, "one line"
    assert log.count(f"{service} is reachable again") == 1


def test_a_wrong_password_of_clickhouse_is_said_at_once(lab: Stack) -> None:
    right = lab.clickhouse("gateway")
    wrong = right.replace("gateway:", "gateway:x", 1)
    with process(environment(lab, MESSENGER_CLICKHOUSE=wrong)) as gateway:
        said = until_it_says(gateway, "clickhouse is unreachable", 10)
        os.kill(gateway.pid, signal.SIGTERM)
        gateway.communicate(timeout=10)
    assert gateway.returncode == 0
    assert "password" in said.lower()


def test_a_gateway_ends_when_it_is_told_to_though_kafka_stands_still(lab: Stack) -> None:
    own = environment(lab)
    with process(own) as gateway:
        wait_until_ready(own)
        lab.kill("kafka", signal.SIGSTOP)
        try:
            time.sleep(1)
            os.kill(gateway.pid, signal.SIGTERM)
            gateway.communicate(timeout=15)
        finally:
            lab.kill("kafka", signal.SIGCONT)
    assert gateway.returncode == 0


def wait_until_ready(environment: dict[str, str]) -> None:
    """Until a gateway of this environment lets devices in."""
    url = f"http://127.0.0.1:{environment['MESSENGER_HTTP_PORT']}/ready"
    until = time.monotonic() + 20
    while True:
        try:
            urllib.request.urlopen(url, timeout=2).close()
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.1)
        else:
            return
