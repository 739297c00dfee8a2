"""CPU time and context switches of the stack, by process and by kind of thread.

The kernel cuts a thread's name to 15 characters, which are the same for Kafka's request handlers
and network threads. So the JVM is asked for a list of its threads (SIGQUIT), which goes to its log.
"""

import os
import re
import signal
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from bench.processes import cpu_seconds

_TICK = os.sysconf("SC_CLK_TCK")
_JVM_THREAD = re.compile(r'^"(.+?)" .*\bnid=(0x[0-9a-f]+|\d+) ', re.MULTILINE)
_KAFKA = (
    ("kafka-request-handler", "request handlers"),
    ("kafka-network-thread", "network threads"),
    ("CompilerThread", "JIT compilers"),
    ("Sweeper", "JIT compilers"),
    ("VM Thread", "GC and safepoints"),
    ("GC ", "GC and safepoints"),
    ("G1 ", "GC and safepoints"),
    ("raft", "controller"),
    ("controller", "controller"),
    ("group-coordinator", "group coordinator"),
    ("Expiration", "timers"),
    ("scheduler", "timers"),
)


class Usage(NamedTuple):
    """What a stack has used so far."""

    cpu: Counter[str]
    """Process → CPU seconds."""
    threads: Counter[tuple[str, str]]
    """(process, kind of thread) → CPU seconds, to a hundredth a thread."""
    switches: Counter[str]
    """Process → context switches of its threads, voluntary or not."""


class Threads:
    """Of the processes `pids` (part → process id). `jvm_logs` are where the JVM of each broker
    writes."""

    def __init__(self, pids: dict[str, int], jvm_logs: Mapping[str, Path]) -> None:
        self._pids = pids
        self._java = {part: _java_threads(pids[part], log) for part, log in jvm_logs.items()}

    def usage(self) -> Usage:
        found = Usage(Counter(), Counter(), Counter())
        for part, pid in self._pids.items():
            found.cpu[part] = cpu_seconds(pid)  # type: ignore[assignment]
            for task in Path(f"/proc/{pid}/task").iterdir():
                try:
                    name, stat = (task / "comm").read_text().strip(), (task / "stat").read_text()
                    status = (task / "status").read_text()
                except (FileNotFoundError, ProcessLookupError):
                    continue  # it has just ended
                fields = stat.rpartition(")")[2].split()
                seconds = (int(fields[11]) + int(fields[12])) / _TICK
                kind = self._kind(part, pid, int(task.name), name)
                found.threads[part, kind] += seconds  # type: ignore[assignment]
                found.switches[part] += sum(
                    int(line.split()[1]) for line in status.splitlines() if "ctxt_switches" in line
                )
        return found

    def compiler_seconds(self) -> float:
        """CPU seconds that the compilers of the brokers' JVMs have used so far."""
        threads = self.usage().threads
        return sum(threads[part, "JIT compilers"] for part in self._java)

    def _kind(self, part: str, pid: int, thread: int, name: str) -> str:
        if part in self._java:
            java = self._java[part].get(thread, name)
            return next((kind for mark, kind in _KAFKA if mark in java), "other")
        if part == "redis":
            return "main" if pid == thread else "other"
        if part in ("clickhouse", "ejabberd"):
            return name
        if pid == thread:
            return "loop"
        for mark, kind in (("rdk:", "librdkafka"), ("rocksdb", "RocksDB")):
            if name.startswith(mark):
                return kind
        return "other Python threads"


def _java_threads(pid: int, log: Path) -> dict[int, str]:
    """Thread id → name of the JVM's threads."""
    before = log.stat().st_size
    os.kill(pid, signal.SIGQUIT)
    until = time.monotonic() + 5
    while time.monotonic() < until:
        time.sleep(0.1)
        with log.open("rb") as file:
            file.seek(before)
            dump = file.read().decode(errors="replace")
        if "JNI global ref" in dump:
            break
    return {int(nid, 0): name for name, nid in _JVM_THREAD.findall(dump)}
