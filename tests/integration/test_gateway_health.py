"""A gateway's health says within 5 s that Kafka, Redis or ClickHouse is away, on the real
services."""

import json
import os
import signal
import time
import urllib.error
import urllib.request

import pytest

from connectors.redis.routes import LEASE_SECONDS
from tests.harness.stack import Stack
from tests.integration.test_gateway_start import environment, process, until_it_says

pytestmark = pytest.mark.real

_SAID_SECONDS = 5.0 + 2.0
"""The second summand is what asking, and a machine that does other things, may add."""


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


def wait_for_archiver(stack: Stack) -> None:
    """Until the archiver, which has nothing to insert, says that ClickHouse is away."""
    until = time.monotonic() + 60
    while not any("clickhouse is unreachable" in problem for problem in archiver(stack)):
        assert time.monotonic() < until
        time.sleep(0.1)


def archiver(stack: Stack) -> list[str]:
    """Its problems."""
    url = f"http://127.0.0.1:{stack.base_port + 13}/health/"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            found = json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            found = json.load(error)
    problems: list[str] = found["problems"]
    return problems


@pytest.mark.parametrize("service", ["kafka", "redis", "clickhouse"])
def test_a_service_that_stands_still_is_said_within_5_s_and_that_it_is_back(
    spare: Stack, service: str
) -> None:
    """By the gateway and, of what it and others say, by `messenger local status`."""
    until = time.monotonic() + 60  # a busy machine may be late once
    while (told := spare.run("local", "status")).returncode:
        assert time.monotonic() < until, told.stdout
        time.sleep(0.5)
    before = len(spare.log("gateway-1"))  # ClickHouse may have started after the gateway
    spare.kill(service, signal.SIGSTOP)
    try:
        wait(spare, _SAID_SECONDS, f"{service} is unreachable")
        told, shown = spare.run("local", "status"), spare.run("local", "status", "--json")
        if service == "redis":
            wait_for_ready(spare, 503)  # it cannot write the routes of devices that come
        else:
            assert page(spare, "/ready")[0] == 200, "devices may come"
        if service == "clickhouse":
            wait_for_archiver(spare)
    finally:
        spare.kill(service, signal.SIGCONT)
    parts = json.loads(shown.stdout)
    assert told.returncode == 1
    # a process that is stopped still accepts connections; only an answer shows that it works
    assert parts[service]["problem"] == "it does not answer within 2 s"
    assert f"{service} is unreachable for " in parts["gateway-1"]["problem"]
    assert f"{service} is unreachable for " in told.stdout
    spare.wait_healthy(60)
    log = spare.log("gateway-1")[before:]
    assert log.count(f"{service} is unreachable") == 1, "one line"
    assert log.count(f"{service} is reachable again") == 1


def test_a_wrong_password_of_clickhouse_is_said_at_once(spare: Stack) -> None:
    right = spare.clickhouse("gateway")
    wrong = right.replace("gateway:", "gateway:x", 1)
    with process(environment(spare, MESSENGER_CLICKHOUSE=wrong)) as gateway:
        said = until_it_says(gateway, "clickhouse is unreachable", 10)
        os.kill(gateway.pid, signal.SIGTERM)
        gateway.communicate(timeout=10)
    assert gateway.returncode == 0
    assert "password" in said.lower()


def test_a_gateway_ends_when_it_is_told_to_though_kafka_stands_still(spare: Stack) -> None:
    own = environment(spare)
    with process(own) as gateway:
        wait_until_ready(own)
        spare.kill("kafka", signal.SIGSTOP)
        try:
            time.sleep(1)
            os.kill(gateway.pid, signal.SIGTERM)
            gateway.communicate(timeout=15)
        finally:
            spare.kill("kafka", signal.SIGCONT)
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
