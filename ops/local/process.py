"""Processes by pid and start time: a pid alone may have been given to somebody else."""

import ctypes
import os
import signal
import time
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def start_time(pid: int) -> int | None:
    """Kernel start time of a live process in clock ticks, None if it is gone (or only waits to be
    reaped). A process counts as live while it has threads, because it still has its ports."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, threads, started = fields[0], int(fields[17]), int(fields[19])
    return None if state == "Z" and threads <= 1 else started


def is_running(pid: int | None, started: int | None) -> bool:
    """Whether the process that had this pid and start time still runs."""
    return pid is not None and started is not None and start_time(pid) == started


def end(pid: int, started: int, grace: float) -> None:
    """Send SIGTERM, and SIGKILL after `grace` seconds. The ports of the process are free when this
    returns."""
    until = time.monotonic() + grace
    if is_running(pid, started):
        os.kill(pid, signal.SIGTERM)
    while is_running(pid, started) and time.monotonic() < until:
        time.sleep(0.05)
    if is_running(pid, started):
        os.kill(pid, signal.SIGKILL)
        while is_running(pid, started):
            time.sleep(0.01)


def die_with_parent(by: signal.Signals = signal.SIGTERM) -> None:
    """Call it in a child, before exec: the kernel then sends the signal `by` to the child when its
    parent ends, even by SIGKILL. A child that SIGSTOP has stopped ends by SIGKILL only."""
    _libc.prctl(_PR_SET_PDEATHSIG, by)
