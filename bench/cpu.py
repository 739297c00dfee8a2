"""CPU time of processes: user and system, all threads."""

import time


def cpu_seconds(pid: int) -> float:
    """CPU seconds a process has used so far (its CPU clock, as getrusage would tell itself)."""
    return time.clock_gettime((~pid << 3) | 2)
