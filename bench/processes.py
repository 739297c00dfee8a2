"""CPU time and memory of other processes."""

import time
from pathlib import Path


def cpu_seconds(pid: int) -> float:
    """CPU seconds that a process has used so far: user and system, all threads (its CPU clock)."""
    return time.clock_gettime((~pid << 3) | 2)


def peak_mib(pid: int) -> int:
    """The most resident memory that a process has had, in MiB."""
    return _kib(pid, "VmHWM") // 1024


def resident_kib(pid: int) -> int:
    """Resident memory of a process, in KiB."""
    return _kib(pid, "VmRSS")


def _kib(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
