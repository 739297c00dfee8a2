"""The examples of the SDK, from its package alone, and the one in JavaScript, on the real stack."""

import contextlib
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import aiohttp
import pytest

from gateway.edge.tokens import issue
from schemas.ids import user_id
from tests.harness.stack import Stack

pytestmark = pytest.mark.real

_SDK = Path(__file__).resolve().parents[2] / "clients" / "python"
_BOT = _SDK.parent / "web" / "examples" / "echo_bot.mjs"
_NODE = shutil.which("node")
_SECONDS = 60.0
_AGAIN_SECONDS = 2.0


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A folder with what `pip install clients/python` would install."""
    tool = tomllib.loads((_SDK / "pyproject.toml").read_text())["tool"]["setuptools"]
    for name in tool["packages"]:
        folder = _SDK / tool["package-dir"].get(name, name)
        (tmp_path / name).symlink_to(folder.resolve())
    return tmp_path


@contextmanager
def example(
    name: str, stack: Stack, package: Path, user: str, *more: str
) -> Iterator["subprocess.Popen[str]"]:
    """Python without this project: of its folders it finds the package's only (-P, -S)."""
    others = Path(aiohttp.__file__).parents[1]
    command = [sys.executable, "-P", "-S", str(_SDK / "examples" / name), stack.gateway_urls[0]]
    with running([*command, *more], stack, user, {"PYTHONPATH": f"{package}:{others}"}) as process:
        yield process


@contextmanager
def running(
    command: list[str], stack: Stack, user: str, environment: dict[str, str]
) -> Iterator["subprocess.Popen[str]"]:
    """A process with the login token of a user."""
    token = issue(user_id(user), stack.token_secret, time.time())
    with subprocess.Popen(
        command,
        env=os.environ | environment | {"MESSENGER_TOKEN": token},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def said_by(process: "subprocess.Popen[str]") -> "queue.Queue[str]":
    """The lines that it prints, as they come."""
    said: queue.Queue[str] = queue.Queue()
    assert process.stdout is not None

    def read(output: IO[str]) -> None:
        with contextlib.suppress(ValueError):  # at its end the test closes what this reads
            for line in output:
                said.put(line.strip())

    threading.Thread(target=read, args=(process.stdout,), daemon=True).start()
    return said


def say_until(input_: IO[str], answers: "queue.Queue[str]") -> str:
    """The first answer to what is said again and again: what was said before a device came for the
    first time is history to it."""
    until = time.monotonic() + _SECONDS
    while time.monotonic() < until:
        input_.write("hello\n")
        with contextlib.suppress(queue.Empty):
            return answers.get(timeout=_AGAIN_SECONDS)
    raise AssertionError("nobody answers")


def test_bot_bridge_and_notifier(stack: Stack, package: Path, tmp_path: Path) -> None:
    bot, user = "examples-bot", "examples-user"
    with (
        example("echo_bot.py", stack, package, bot, "--folder", str(tmp_path / "bot")),
        example("notifier.py", stack, package, user) as notifier,
        example("bridge.py", stack, package, user, bot) as bridge,
    ):
        notified, answered = said_by(notifier), said_by(bridge)
        assert bridge.stdin is not None
        assert say_until(bridge.stdin, notified) == f"{bot}: hello"
        assert answered.get(timeout=_SECONDS) == "hello"
        bridge.stdin.close()
        assert bridge.wait(_SECONDS) == 0


@pytest.mark.skipif(not _NODE, reason="there is no node here")
def test_a_bot_in_javascript(stack: Stack, package: Path) -> None:
    bot, user = "examples-node", "examples-other"
    command = [_NODE or "", "--experimental-websocket", str(_BOT), stack.gateway_urls[0], bot]
    with (
        running(command, stack, bot, {}),
        example("bridge.py", stack, package, user, bot) as bridge,
    ):
        assert bridge.stdin is not None
        assert say_until(bridge.stdin, said_by(bridge)) == "hello"
