"""A ClickHouse of a test's own, beside a stack or without one."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from ops.local.home import Home
from ops.local.parts import clickhouse_environment, clickhouse_url
from ops.local.process import die_with_parent
from tests.harness.ports import free_base_port

_START_SECONDS = 30.0


class ClickHouse:
    """`start` it; end it with `stop` or `kill`. What was written is there after the next start."""

    def __init__(self, folder: Path, base_port: int | None = None) -> None:
        self.home = Home(folder)
        self.home.create()
        self.base_port = base_port or free_base_port()
        self.log = folder / "clickhouse.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        return self.base_port + 11

    def url(self, user: str) -> str:
        return clickhouse_url(self.home, self.base_port, user)

    def environment(self) -> dict[str, str]:
        return clickhouse_environment(self.home, self.port, self.base_port + 12)

    def spawn(self) -> None:
        """Start it, and do not wait until it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "ops.local.clickhouse_server",
                    str(self.home.folder / "clickhouse"),
                ],
                env={**os.environ, **self.environment()},
                cwd=Path(__file__).parents[2],
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent,
            )

    def start(self) -> None:
        self.spawn()
        until = time.monotonic() + _START_SECONDS
        while not self.answers():
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.05)

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ping", timeout=2) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        return self.wait()

    def wait(self) -> int:
        """Until it has ended; the exit code."""
        assert self.process is not None
        return self.process.wait(20)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait(10)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    def ask(self, user: str, text: str) -> str:
        """The answer to a query, or the error, as text."""
        address, _, host = self.url(user).removeprefix("http://").rpartition("@")
        name, _, password = address.partition(":")
        headers = {"X-ClickHouse-User": name, "X-ClickHouse-Key": password}
        request = urllib.request.Request(f"http://{host}/", text.encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return str(answer.read().decode()).strip()
        except urllib.error.HTTPError as error:
            return error.read().decode().strip()
