"""A stack for one benchmark: real services by `messenger local up`, with a JVM that optimises."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bench.cpu import cpu_seconds
from ops.local.home import Home
from ops.local.parts import clickhouse_url
from ops.local.process import die_with_parent

_JVM = "-Xmx1g -Xms1g -XX:+UseSerialGC"
_BASE_PORT = int(os.environ.get("MESSENGER_BENCH_PORT", "8700"))


class System(NamedTuple):
    """Addresses and processes of a running stack."""

    home: Path
    base_port: int

    @property
    def kafka(self) -> str:
        return f"127.0.0.1:{self.base_port + 8}"

    @property
    def redis(self) -> str:
        return f"redis://127.0.0.1:{self.base_port + 10}/0"

    def clickhouse(self, user: str) -> str:
        return clickhouse_url(Home(self.home), self.base_port, user)

    @property
    def gateway(self) -> tuple[str, int]:
        return "127.0.0.1", self.base_port

    @property
    def secret(self) -> str:
        return Home(self.home).token_secret()

    @property
    def pids(self) -> dict[str, int]:
        """Part → process id."""
        return {name: part["pid"] for name, part in Home(self.home).read_state()["parts"].items()}

    def cpu(self) -> dict[str, float]:
        """CPU seconds used so far, by part."""
        return {name: cpu_seconds(pid) for name, pid in self.pids.items()}

    def sequencer(self, worker: int = 0) -> dict[str, Any] | None:
        """The worker's page `/sequencer/`, None while it does not answer."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.base_port + 16 + worker}/sequencer/", timeout=5
            ) as answer:
                page: dict[str, Any] = json.load(answer)
        except (OSError, json.JSONDecodeError):
            return None
        return page


@contextmanager
def system(
    workers: int = 1,
    gateways: int = 1,
    archivers: int | None = None,
    cursors: int | None = 0,
    presence: int | None = 0,
) -> Iterator[System]:
    """A fresh stack in a temporary folder. It ends with the benchmark, also if that is killed.
    `archivers` None means without ClickHouse; `cursors` and `presence` None mean that the workers
    run these stages."""
    with tempfile.TemporaryDirectory(prefix="messenger-bench-") as folder:
        running = System(Path(folder), _BASE_PORT)
        options = ["--home", folder, "--base-port", str(_BASE_PORT)]
        environment = {**os.environ, "MESSENGER_KAFKA_JVM": _JVM, "MESSENGER_FRAME_RATE": "1000000"}
        counts = ["--workers", str(workers), "--gateways", str(gateways)]
        counts += [] if cursors is None else ["--cursors", str(cursors)]
        counts += [] if presence is None else ["--presence", str(presence)]
        counts += ["--no-archive"] if archivers is None else ["--archivers", str(archivers)]
        command = [sys.executable, "-m", "ops", "local", "up", *options, *counts]
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, preexec_fn=die_with_parent
        ) as stack:
            try:
                assert stack.stdout is not None
                if not any(b"Ctrl-C" in line for line in stack.stdout):
                    raise RuntimeError(f"the stack did not start (exit code {stack.wait()})")
                yield running
            finally:
                stack.send_signal(signal.SIGINT)
