"""A local stack for tests, by the real `messenger local up`: its parts can be looked at and killed
by pid."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Self

from ops.local.brokers import addresses
from ops.local.health import look
from ops.local.home import Home
from ops.local.parts import clickhouse_url
from ops.local.process import die_with_parent, is_running
from schemas.topics import LOG
from tests.harness.ports import free_base_port

_READY_SECONDS = 150.0


class Stack:
    """Use it as a context manager; `home` is an empty or an earlier stack's folder. `archivers`
    None: without ClickHouse. `cursors` and `presence` are workers of their own for the stage; None:
    the workers run it. Gateways probe every `probe_seconds`, 0: never, since tests count what is
    sent. Traces of a share of the messages go to `collector_port`, where nobody listens unless a
    test does."""

    def __init__(
        self,
        home: Path,
        workers: int = 1,
        gateways: int = 1,
        base_port: int | None = None,
        archivers: int | None = None,
        cursors: int | None = 0,
        presence: int | None = 0,
        brokers: int = 1,
        secure: bool = False,
        probe_seconds: float = 0.0,
        traces_share: float = 0.0,
    ) -> None:
        self.home = home
        self.base_port = base_port or free_base_port()
        self._counts = [
            "--workers",
            str(workers),
            "--gateways",
            str(gateways),
            "--partitions",
            "4",
            "--brokers",
            str(brokers),
        ]
        self._counts += [] if cursors is None else ["--cursors", str(cursors)]
        self._counts += [] if presence is None else ["--presence", str(presence)]
        self._counts += ["--no-archive"] if archivers is None else ["--archivers", str(archivers)]
        self._counts += ["--secure"] if secure else []
        self.collector_port = self.base_port + 29
        self._settings = {"MESSENGER_PROBE_SECONDS": f"{probe_seconds:g}"}
        if traces_share:
            self._settings |= {
                "MESSENGER_TRACES": f"http://127.0.0.1:{self.collector_port}/v1/traces",
                "MESSENGER_TRACES_SHARE": f"{traces_share:g}",
            }
        self.process: subprocess.Popen[bytes] | None = None
        self.output = home / "up.log"
        self.brokers = brokers
        self.kafka = addresses(self.base_port, brokers)
        self.redis_port = self.base_port + 10
        self.redis = f"redis://127.0.0.1:{self.redis_port}/0"
        scheme = "https" if secure else "http"
        self.gateway_urls = [f"{scheme}://127.0.0.1:{self.base_port + n}" for n in range(gateways)]
        self.worker_urls = [
            f"{scheme}://127.0.0.1:{self.base_port + 16 + n}" for n in range(workers)
        ]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def token_secret(self) -> str:
        return Home(self.home).token_secret()

    @property
    def operator_secret(self) -> str:
        return Home(self.home).operator_secret()

    def environment(self) -> dict[str, str]:
        """What `messenger` needs to find this stack."""
        ours = {
            "MESSENGER_HOME": str(self.home),
            "MESSENGER_BASE_PORT": str(self.base_port),
            "MESSENGER_KAFKA": self.kafka,
            "MESSENGER_REDIS": self.redis,
            "MESSENGER_LOCAL": "1",
            "MESSENGER_REPLICATION": str(self.brokers),
        }
        return {**os.environ, **ours}

    def clickhouse(self, user: str) -> str:
        """ClickHouse's address for a user."""
        return clickhouse_url(Home(self.home), self.base_port, user)

    def start(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "ops",
                    "local",
                    "up",
                    "--home",
                    str(self.home),
                    *self._counts,
                    "--base-port",
                    str(self.base_port),
                ],
                env={**os.environ, **self._settings},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=die_with_parent,
            )
        until = time.monotonic() + _READY_SECONDS
        while b"Ctrl-C" not in self.output.read_bytes():
            if self.process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise AssertionError(f"the stack did not start: {self.output.read_text()}")
            time.sleep(0.1)

    def stop(self) -> int:
        """End it as Ctrl-C would; the exit code."""
        process = self.process
        if process is None:
            return 0
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            return process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            raise

    def end(self) -> None:
        """End it at once; nobody will start it again."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        for part in self.parts().values():
            if is_running(part["pid"], part["started"]):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(part["pid"], signal.SIGKILL)

    def run(
        self,
        *arguments: str,
        timeout: float = 60,
        check: bool = False,
        environment: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run `messenger ...` against this stack."""
        return subprocess.run(
            [sys.executable, "-m", "ops", *arguments],
            env=environment or self.environment(),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=check,
        )

    def parts(self) -> dict[str, dict[str, Any]]:
        parts: dict[str, dict[str, Any]] = Home(self.home).read_state().get("parts", {})
        return parts

    def kill(self, part: str, number: signal.Signals = signal.SIGKILL) -> None:
        os.kill(self.parts()[part]["pid"], number)

    def replace(
        self, part: str, number: signal.Signals = signal.SIGKILL, timeout: float = 60
    ) -> None:
        """Kill a part and wait until its supervisor has started another process."""
        pid = self.parts()[part]["pid"]
        os.kill(pid, number)
        until = time.monotonic() + timeout
        while self.parts()[part]["pid"] == pid:
            assert time.monotonic() < until, self.output.read_text()
            time.sleep(0.05)

    def log(self, part: str) -> str:
        return Home(self.home).log_of(part).read_text(errors="replace")

    def unhealthy(self) -> dict[str, str]:
        """State and problem of each part that is not as it should be, as `messenger local status`
        says them."""
        parts = self.parts()
        assert parts, "no stack runs"
        asyncio.run(look(parts))
        return {
            name: f"{part['state']}: {part['problem']}"
            for name, part in parts.items()
            if part["state"] != "running"
        }

    def wait_healthy(self, timeout: float = 60) -> None:
        """Call it in a thread."""
        until = time.monotonic() + timeout
        while unhealthy := self.unhealthy():
            assert time.monotonic() < until, unhealthy
            time.sleep(0.1)

    def sequencer(self, worker: int = 0) -> dict[str, Any] | None:
        """The worker's own page, None while it does not answer."""
        return self._page(f"{self.worker_urls[worker]}/sequencer/")

    def memberships(self, worker: int = 0) -> dict[str, Any] | None:
        """The same of the memberships."""
        return self._page(f"{self.worker_urls[worker]}/memberships/")

    def archiver(self, topic: str = LOG) -> dict[str, Any] | None:
        """What the first archiver's own page says of a topic, None while it does not answer."""
        page = self._page(f"http://127.0.0.1:{self.base_port + 13}/archiver/")
        return page and page[topic]

    def _page(self, url: str) -> dict[str, Any] | None:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                page: dict[str, Any] = json.load(answer)
        except (urllib.error.URLError, ConnectionError, TimeoutError, json.JSONDecodeError):
            return None
        return page
