"""A gateway that cannot start says why in one line, and ends; one that runs always ends when it is
told to."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ops.local.process import die_with_parent
from tests.harness.ports import free_base_port
from tests.harness.stack import Stack

pytestmark = pytest.mark.real


def environment(stack: Stack, **changed: str) -> dict[str, str]:
    """Of another gateway of the stack."""
    return {
        **stack.environment(),
        "MESSENGER_TOKEN_SECRET": stack.token_secret,
        "MESSENGER_HTTP_PORT": str(free_base_port()),
        **changed,
    }


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("MESSENGER_HTTP_PORT", "", "address already in use"),
        ("MESSENGER_HTTP_HOST", "192.0.2.1", "MESSENGER_HTTP_HOST"),
        ("MESSENGER_HTTP_PORT", "70000", "MESSENGER_HTTP_PORT"),
        ("MESSENGER_REDIS", "nonsense", "MESSENGER_REDIS"),
        ("MESSENGER_CLICKHOUSE", "nonsense", "MESSENGER_CLICKHOUSE"),
        ("MESSENGER_FRAME_RAET", "10", "MESSENGER_FRAME_RAET"),
    ],
)
def test_what_is_wrong_with_the_settings_is_said_in_one_line(
    stack: Stack, setting: str, value: str, said: str
) -> None:
    """Without a value: the port of the stack's own gateway."""
    wrong = environment(stack, **{setting: value or str(stack.base_port)})
    ended = stack.run("gateway", environment=wrong, timeout=20)
    assert ended.returncode == 2, ended.stderr
    lines = [line for line in ended.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, ended.stderr
    assert said in lines[0]


@contextmanager
def process(environment: dict[str, str]) -> Iterator["subprocess.Popen[str]"]:
    """A gateway, which is killed at the end."""
    started = subprocess.Popen(
        [sys.executable, "-m", "ops", "gateway"],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=die_with_parent,
    )
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


def until_it_says(gateway: "subprocess.Popen[str]", words: str, seconds: float) -> str:
    """The line of a gateway's log with these words."""
    assert gateway.stderr is not None
    late = threading.Timer(seconds, gateway.kill)
    late.start()
    try:
        lines = list[str]()
        for line in gateway.stderr:
            if words in line:
                return line
            lines.append(line)
    finally:
        late.cancel()
    raise AssertionError(f"not within {seconds} s: {lines}")


def test_one_that_cannot_reach_redis_ends_when_it_is_told_to(stack: Stack) -> None:
    with process(environment(stack, MESSENGER_REDIS="redis://127.0.0.1:1/0")) as gateway:
        until_it_says(gateway, "redis is unreachable", 20)
        os.kill(gateway.pid, signal.SIGTERM)
        gateway.communicate(timeout=10)
    assert gateway.returncode == 0
