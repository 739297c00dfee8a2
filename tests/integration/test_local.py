"""The local stack: up, status, restarts, Ctrl-C, kill -9 of the supervisor, two side by side."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from ops.local.process import is_running
from tests.harness.stack import Stack

pytestmark = pytest.mark.real


def alive(stack: Stack, parts: dict[str, dict[str, int]]) -> list[str]:
    return [name for name, part in parts.items() if is_running(part["pid"], part["started"])]


def test_a_day_in_the_life_of_a_stack(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "one", archivers=1, cursors=None, presence=None)
    stack.start()
    try:
        status = json.loads(stack.run("local", "status", "--json", check=True).stdout)
        assert set(status) == {
            "kafka",
            "redis",
            "clickhouse",
            "worker-1",
            "archiver-1",
            "gateway-1",
        }
        assert {part["state"] for part in status.values()} == {"running"}
        output = stack.output.read_text()
        assert f"http://127.0.0.1:{stack.base_port}/ (chat page)" in output
        assert "without a password" in output

        other = stack.run("local", "up", "--partitions", "5")
        assert (other.returncode, "has 4 partitions for ever" in other.stderr) == (2, True)
        again = stack.run("local", "up")
        assert (again.returncode, "already running" in again.stderr) == (1, True)
        taken = stack.run("local", "up", "--home", str(tmp_path / "other"))
        assert (taken.returncode, "is in use" in taken.stderr) == (2, True)
        nowhere = stack.run("local", "up", "--home", str(stack.output / "no-folder"))
        assert (nowhere.returncode, "Traceback" in nowhere.stderr) == (2, False), nowhere.stderr

        stack.run("send", "--as", "alice", "--to", "bob", "kept", check=True)
        stack.replace("gateway-1")
        stack.wait_healthy()
        assert "gateway-1 ended (signal 9)" in stack.output.read_text()

        parts = stack.parts()
        began = time.monotonic()
        assert stack.stop() == 0
        assert time.monotonic() - began < 10
        assert alive(stack, parts) == []
        assert stack.run("local", "status").returncode == 1

        stack.start()
        sent = stack.run("send", "--as", "alice", "--to", "bob", "and goes on", check=True)
        assert json.loads(sent.stdout)["seq"] == 2

        parts = stack.parts()
        assert stack.process is not None
        stack.process.send_signal(signal.SIGKILL)
        stack.process.wait()
        stack.start()
        assert alive(stack, parts) == []
        sent = stack.run("send", "--as", "alice", "--to", "bob", "still", check=True)
        assert json.loads(sent.stdout)["seq"] == 3
    finally:
        stack.stop()


def test_two_stacks_side_by_side(stack: Stack, tmp_path: Path) -> None:
    with Stack(tmp_path / "two", workers=0, gateways=0) as other:
        for running in (other, stack):
            assert running.run("local", "status").returncode == 0
        assert set(other.parts()) == {"kafka", "redis"}


def test_commands_find_the_stack_of_their_home_and_no_other(stack: Stack, tmp_path: Path) -> None:
    bare = {name: os.environ[name] for name in ("PATH",)}
    here = {**bare, "MESSENGER_HOME": str(stack.home)}
    sent = stack.run("send", "--as", "home-a", "--to", "home-b", "found", environment=here)
    assert sent.returncode == 0, sent.stderr
    assert stack.run("audit", environment=here).returncode == 0
    nowhere = {**bare, "MESSENGER_HOME": str(tmp_path / "nothing")}
    for command in (["audit"], ["archive", "check"]):
        asked = stack.run(*command, environment=nowhere)
        assert (asked.returncode, "no local stack" in asked.stderr) == (2, True), asked.stderr
    elsewhere = {**here, "MESSENGER_BASE_PORT": "8400"}
    asked = stack.run("audit", environment=elsewhere)
    assert (asked.returncode, "listens from" in asked.stderr) == (2, True), asked.stderr


def test_topics_that_are_not_as_their_files_say_stop_every_process(stack: Stack) -> None:
    wrong = {
        **stack.environment(),
        "MESSENGER_PARTITIONS": "5",
        "MESSENGER_STATE_DIR": "/nonexistent",
    }
    wrong |= {"MESSENGER_TOKEN_SECRET": "s" * 32, "MESSENGER_HTTP_PORT": "1"}
    ended = stack.run("topics", "check", environment=wrong)
    assert ended.returncode == 1, ended.stderr
    assert "messages.submitted: 4 partitions, not 5" in ended.stderr
    for command in (["worker", "sequencer"], ["worker", "archiver"], ["gateway"]):
        ended = stack.run(*command, environment=wrong)
        assert ended.returncode == 2, ended.stderr
        (line,) = ended.stderr.splitlines()
        assert "cursors: 4 partitions, not 5; the number can never be changed" in line


def test_a_missing_setting_is_named(stack: Stack) -> None:
    ended = stack.run("gateway", environment={"PATH": "/usr/bin:/bin"})
    assert (ended.returncode, "not set: MESSENGER_" in ended.stderr) == (2, True)
