"""A stack for one benchmark: real services by `messenger local up` of this or another checkout,
with a JVM that optimises."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from bench.processes import cpu_seconds
from bench.requests import requests_sent
from bench.threads import Threads
from connectors.kafka.admin import TopicsAdmin
from connectors.kafka.wanted_topics import WantedTopics
from ops.local.brokers import Broker, addresses, brokers
from ops.local.home import Home
from ops.local.parts import clickhouse_url
from ops.local.process import die_with_parent

_JVM = os.environ.get(
    "MESSENGER_KAFKA_JVM",
    "-XX:+UseSerialGC -XX:MaxTenuringThreshold=1 -XX:+UseTransparentHugePages -XX:-UsePerfData",
)
_HEAP, _SMALL_HEAP = "-Xmx1g -Xms1g", "-Xmx400m -Xms400m"
"""Of a broker alone, and of one of several."""
_PAUSE = re.compile(r'^\[([0-9.]+)s\] Safepoint "(\w+)",.* Total: +(\d+) ns', re.MULTILINE)
_SLOTS = 8
_BASE_PORT = int(os.environ.get("MESSENGER_BENCH_PORT", "8700"))


UNLIMITED = MappingProxyType(
    {"MESSENGER_FRAME_RATE": "1000000", "MESSENGER_USER_QUESTIONS": "1000000"}
)
"""A few devices send here what thousands would send."""


class NotInCheckout(Exception):
    """The checkout whose stack is measured cannot do what a row asks of it."""


class Checkout(NamedTuple):
    """A built checkout of this repository: `python` is that of its environment."""

    folder: Path
    python: Path

    @classmethod
    def at(cls, folder: Path | None) -> "Checkout":
        """The one in `folder`; without a folder, the one that this process runs in."""
        if folder is None:
            return cls(Path(__file__).resolve().parents[1], Path(sys.executable))
        return cls(folder.resolve(), folder.resolve() / ".venv/bin/python")

    @property
    def commit(self) -> str:
        command = ["git", "-C", str(self.folder), "describe", "--always", "--dirty"]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()

    def options(self) -> str:
        """What its `messenger local up` says of its options."""
        command = [str(self.python), "-m", "ops", "local", "up", "--help"]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True).stdout


class System(NamedTuple):
    """Addresses and processes of a running stack."""

    home: Path
    base_port: int
    broker_count: int = 1

    @property
    def brokers(self) -> list[Broker]:
        return brokers(self.home, self.base_port, self.broker_count)

    @property
    def kafka(self) -> str:
        return addresses(self.base_port, self.broker_count)

    @property
    def redis(self) -> str:
        return f"redis://127.0.0.1:{self.base_port + 10}/0"

    @property
    def worker_port(self) -> int:
        """Of the first worker's pages."""
        return self.base_port + 16

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

    def requests(self) -> Counter[str]:
        """Requests that each part has sent to Kafka so far (bench/requests.py)."""
        return requests_sent({broker.port for broker in self.brokers}, self.pids)

    def threads(self) -> Threads:
        """What counts the threads of the parts that run now."""
        logs = {broker.name: Home(self.home).log_of(broker.name) for broker in self.brokers}
        return Threads(self.pids, logs)

    def broker_pauses(self, since: float) -> list[tuple[float, float, str]]:
        """When the JVM of the only broker stood still (time.monotonic), for how many seconds, and
        why."""
        pid = self.pids["kafka"]
        began = began_at(pid)
        return [
            (began + float(ended) - int(ns) / 1e9, int(ns) / 1e9, why)
            for ended, why, ns in _PAUSE.findall(_pauses(self.home, pid).read_text())
            if began + float(ended) >= since
        ]

    def sequencer(self, worker: int = 0) -> dict[str, Any] | None:
        """The worker's page `/sequencer/`, None while it does not answer."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.worker_port + worker}/sequencer/", timeout=5
            ) as answer:
                page: dict[str, Any] = json.load(answer)
        except (OSError, json.JSONDecodeError):
            return None
        return page


def _require_flush(stack: System, partitions: int) -> None:
    """Raises NotInCheckout unless the broker flushes before it acknowledges."""
    wanted = WantedTopics(partitions, _SLOTS, 1, flush=True)
    if any("flush.messages" in line for line in TopicsAdmin(stack.kafka, wanted).check().problems):
        raise NotInCheckout("it has no MESSENGER_FLUSH")


def _pauses(home: Path, pid: int | str) -> Path:
    """Where a JVM notes when it stood still."""
    return home / f"jvm-pauses-{pid}.log"


def began_at(pid: int) -> float:
    """When a process began (time.monotonic), to a hundredth of a second."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


@contextmanager
def system(
    checkout: Checkout | None = None,
    workers: int = 1,
    gateways: int = 1,
    archivers: int | None = 1,
    partitions: int | None = None,
    flushed: bool = False,
    broker_count: int = 1,
    environment: Mapping[str, str] = UNLIMITED,
) -> Iterator[System]:
    """A fresh stack in a temporary folder. It ends with the benchmark, also if that is killed.
    `archivers` None means without ClickHouse; `partitions` None means four, which a checkout
    without the option has. `flushed`: with MESSENGER_FLUSH=always. Of brokers there may be 1 or 3.
    Raises NotInCheckout."""
    checkout = checkout or Checkout.at(None)
    counts = {"workers": workers, "gateways": gateways, "archivers": archivers}
    if "--partitions" in checkout.options():
        counts["partitions"] = partitions or 4
    elif partitions is not None:
        raise NotInCheckout("its `messenger local up` has no --partitions")
    if broker_count > 1:
        if "--brokers" not in checkout.options():
            raise NotInCheckout("its `messenger local up` has no --brokers")
        counts["brokers"] = broker_count
    arguments = [f"--{name}={count}" for name, count in counts.items() if count is not None]
    arguments += ["--no-archive"] if archivers is None else []
    with tempfile.TemporaryDirectory(prefix="messenger-bench-") as folder:
        running = System(Path(folder), _BASE_PORT, broker_count)
        heap, pauses = _HEAP if broker_count == 1 else _SMALL_HEAP, _pauses(running.home, "%p")
        command = [str(checkout.python), "-m", "ops", "local", "up"]
        command += ["--home", folder, "--base-port", str(_BASE_PORT), *arguments]
        with subprocess.Popen(
            command,
            cwd=checkout.folder,
            env={
                **os.environ,
                "MESSENGER_KAFKA_JVM": f"{heap} {_JVM} -Xlog:safepoint:file={pauses}:uptime",
                **({"MESSENGER_FLUSH": "always"} if flushed else {}),
                **environment,
            },
            stdout=subprocess.PIPE,
            preexec_fn=die_with_parent,
        ) as stack:
            try:
                assert stack.stdout is not None
                if not any(b"Ctrl-C" in line for line in stack.stdout):
                    raise RuntimeError(f"the stack did not start (exit code {stack.wait()})")
                if flushed:
                    _require_flush(running, partitions or 4)
                yield running
            finally:
                stack.send_signal(signal.SIGINT)
