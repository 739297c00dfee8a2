"""A ClickHouse of a test's own, beside a stack or without one."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from http.client import HTTPResponse
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from ops.local.home import Home
from ops.local.parts import clickhouse_environment, clickhouse_url
from ops.local.process import die_with_parent
from tests.harness.ports import free_base_port

_START_SECONDS = 30.0


class Answer(NamedTuple):
    """Names of headers are in small letters."""

    text: str
    headers: Mapping[str, str]

    @classmethod
    def of(cls, answer: HTTPResponse | urllib.error.HTTPError) -> "Answer":
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return cls(answer.read().decode().strip(), headers)


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
        return clickhouse_environment(self.home, self.port)

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
        return self.request(text, user, self.home.clickhouse_password(user)).text

    def request(
        self,
        text: str,
        user: str,
        password: str,
        *,
        path: str = "",
        parameters: str = "",
        method: str = "POST",
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> Answer:
        """The answer to an HTTP request; `user` "" sends no credentials."""
        credentials = {"X-ClickHouse-User": user, "X-ClickHouse-Key": password} if user else {}
        if method == "GET":
            parameters += "&query=" + urllib.parse.quote(text)
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/{path}?{parameters}",
            text.encode() if method == "POST" else None,
            {**credentials, **headers},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return Answer.of(answer)
        except urllib.error.HTTPError as error:
            return Answer.of(error)
