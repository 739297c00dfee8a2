"""A timer of the kernel that wakes epoll in microseconds. Python has it from 3.13 on."""

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)
_CLOCK_MONOTONIC = 1
_ABSOLUTE = 1


class _Spec(ctypes.Structure):
    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


class Timer:
    """Its descriptor `fd` becomes readable at the moment that was set last."""

    def __init__(self) -> None:
        self.fd: int = _libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")

    def set(self, at: float) -> None:
        """`at` is a time of time.monotonic; one that has passed wakes at once. The timer never
        fires before it."""
        seconds, rest = divmod(int(at * 1e9) + 1000, 10**9)
        spec = _Spec(0, 0, seconds, rest)
        _libc.timerfd_settime(self.fd, _ABSOLUTE, ctypes.byref(spec), None)

    def close(self) -> None:
        os.close(self.fd)
