"""CPU time and memory of other processes."""

import time
from pathlib import Path


def cpu_seconds(pid: int) -> float:
    """CPU seconds that a process has used so far: user and system, all threads (its CPU clock)."""
    return time.clock_gettime((~pid << 3) | 2)


def peak_mib(pid: int) -> int:
    """The most resident memory that a process has had, in MiB."""
    (line,) = [
        line
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("VmHWM:")
    ]
    return int(line.split()[1]) // 1024
