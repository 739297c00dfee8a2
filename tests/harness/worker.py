"""A worker of a test's own, beside a stack that was started without workers of its stage."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path
from typing import Any

from ops.local.process import die_with_parent
from tests.harness.stack import Stack


class Worker:
    """Of a stage, or of several with spaces between. Number 0, 1 …: each has its own state folder,
    below `folder` or the stack's, and monitor port. End it with `stop` or `kill`."""

    def __init__(
        self, stack: Stack, number: int = 0, stage: str = "sequencer", folder: Path | None = None
    ) -> None:
        self.stage = stage
        self._stack = stack
        self.state_dir = (folder or stack.home) / f"own-worker-{number}"
        self.log = self.state_dir.with_suffix(".log")
        self.port = stack.base_port + 24 + number
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, point: str = "", after: int = 0, hang: str = "") -> None:
        """Start it; with `point`, it kills itself there after so many appends
        (tests.harness.crashing_worker); with `hang`, it hangs there
        (tests.harness.hanging_worker)."""
        program = ["-m", "ops", "worker", *self.stage.split()]
        if point:
            program = ["-m", "tests.harness.crashing_worker", point, str(after)]
        elif hang:
            program = ["-m", "tests.harness.hanging_worker", hang]
        environment = {
            "MESSENGER_STATE_DIR": str(self.state_dir),
            "MESSENGER_WEB_PORT": str(self.port),
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *program],
                env={**self._stack.environment(), **environment},
                cwd=Path(__file__).parents[2],
                stdout=log,
                stderr=log,
                preexec_fn=partial(die_with_parent, signal.SIGKILL),  # tests pause it
            )

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(60)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def end(self) -> None:
        """End it if it still runs; by SIGTERM if it obeys, so that the next one need not wait for
        its session to run out."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            if not self.wait_dead(30):
                self.kill()

    def wait_dead(self, timeout: float) -> bool:
        """True if it has ended by itself within `timeout` seconds."""
        assert self.process is not None
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def forget_state(self) -> None:
        shutil.rmtree(self.state_dir)

    def page(self, path: str = "") -> dict[str, Any] | None:
        """One of its pages; without `path` its stage's."""
        try:
            with urllib.request.urlopen(
                self.url + (path or f"/{self.stage}/"), timeout=5
            ) as answer:
                page: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            page = json.load(error)
        except (urllib.error.URLError, ConnectionError, TimeoutError, json.JSONDecodeError):
            return None
        return page

    def wait_healthy(self, timeout: float = 90) -> None:
        self.wait_for(lambda: (self.page("/health/") or {}).get("healthy") is True, timeout)

    def wait_for(self, condition: Any, timeout: float = 90) -> None:
        until = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < until, (
                f"not within {timeout} s: {self.page('/health/')} {self.page()}; {self.tail()}"
            )
            time.sleep(0.1)

    def partitions(self) -> dict[int, dict[str, Any]]:
        """Its page's partitions by number."""
        page = self.page() or {"partitions": []}
        return {partition["partition"]: partition for partition in page["partitions"]}

    def tail(self) -> str:
        """Its warnings, and the end of its log."""
        text = self.log.read_text(errors="replace")
        warnings = [
            line
            for line in text.splitlines()
            if " WARNING " in line or " ERROR " in line or " CRITICAL " in line
        ]
        return "\n".join([*warnings[-20:], text[-2000:]])
