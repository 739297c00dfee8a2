"""CPU time of processes (user and system, all threads), and their memory."""

import time
from pathlib import Path


def cpu_seconds(pid: int) -> float:
    """CPU seconds a process has used so far (its CPU clock, as getrusage would tell itself)."""
    return time.clock_gettime((~pid << 3) | 2)


def peak_mib(pid: int) -> int:
    """The most memory a process has had resident, in MiB."""
    (line,) = [
        line
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("VmHWM:")
    ]
    return int(line.split()[1]) // 1024
