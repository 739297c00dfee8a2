"""A gateway that cannot start says why in one line, and ends; one that runs always ends when it is
told to."""

import os
import signal
import subprocess
import sys
import time

import pytest

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


def test_one_that_cannot_reach_redis_ends_when_it_is_told_to(stack: Stack) -> None:
    away = environment(stack, MESSENGER_REDIS="redis://127.0.0.1:1/0")
    process = subprocess.Popen(
        [sys.executable, "-m", "ops", "gateway"], env=away, stderr=subprocess.PIPE, text=True
    )
    try:
        time.sleep(3)
        os.kill(process.pid, signal.SIGTERM)
        _, said = process.communicate(timeout=10)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, said
