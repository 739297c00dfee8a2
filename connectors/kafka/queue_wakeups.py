"""Wakes the event loop when a librdkafka client has something to be polled: by a file descriptor,
so that no thread waits for it.

librdkafka offers this publicly (`rd_kafka_queue_io_event_enable` in rdkafka.h), confluent-kafka
does not. So this module takes the address of the C client out of the Python object, which is
private to confluent-kafka, and only does so in the one version that it was read in. In any other,
and where there is no eventfd, a timer polls.
"""

import asyncio
import ctypes
import logging
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import confluent_kafka
from confluent_kafka import Consumer, Producer

log = logging.getLogger(__name__)

READ_VERSIONS = ("2.16.1", "2.16.0")
"""Of confluent-kafka and librdkafka. Before you change them, read in confluent_kafka.h that `rk` is
the first member of `Handle`, and in rdkafka_queue.h when `rd_kafka_q_io_event` is called."""
TIMER_SECONDS = 0.005
_ONE = (1).to_bytes(8, "little")
"""What librdkafka writes into the eventfd."""


class Wakeups(Protocol):
    def close(self) -> None:
        """No more calls. Before the client is closed."""


def wakeups(client: Consumer | Producer, poll: Callable[[], None]) -> Wakeups:
    """Call `poll` in the running loop when the client has something that was not there when it was
    polled last. `poll` takes all there is, or sees to it that it is called again."""
    if _library is None:
        _warn()
        return _Timer(poll)
    return _Descriptor(_library, client, poll)


class _Descriptor:
    def __init__(
        self, library: ctypes.CDLL, client: Consumer | Producer, poll: Callable[[], None]
    ) -> None:
        self._library = library
        self._poll = poll
        self._loop = asyncio.get_running_loop()
        self._queue = _queue(library, client)
        # 1: for what came before
        self._fd = os.eventfd(1, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._enable(self._fd)
        self._loop.add_reader(self._fd, self._ready)

    def close(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            self._enable(-1)
            self._library.rd_kafka_queue_destroy(self._queue)
            os.close(self._fd)
            self._fd = -1

    def _enable(self, fd: int) -> None:
        self._library.rd_kafka_queue_io_event_enable(self._queue, fd, _ONE, len(_ONE))

    def _ready(self) -> None:
        os.eventfd_read(self._fd)
        self._poll()


class _Timer:
    def __init__(self, poll: Callable[[], None]) -> None:
        self._poll = poll
        self._loop = asyncio.get_running_loop()
        self._next = self._loop.call_soon(self._tick)

    def close(self) -> None:
        self._next.cancel()

    def _tick(self) -> None:
        self._next = self._loop.call_later(TIMER_SECONDS, self._tick)
        self._poll()


@cache
def _warn() -> None:
    log.warning(
        "librdkafka is polled every %.0f ms: confluent-kafka %s cannot wake the loop here",
        TIMER_SECONDS * 1000,
        confluent_kafka.version(),
    )


def _load() -> ctypes.CDLL | None:
    """The librdkafka that confluent-kafka has loaded, None if it cannot be used here."""
    versions = (confluent_kafka.version(), confluent_kafka.libversion()[0])
    bundled = Path(confluent_kafka.__file__).parents[1] / "confluent_kafka.libs"
    found = list(bundled.glob("librdkafka-*.so*"))
    if versions != READ_VERSIONS or len(found) != 1 or not hasattr(os, "eventfd"):
        return None
    library = ctypes.CDLL(str(found[0]))
    pointer = ctypes.c_void_p
    signatures: dict[str, tuple[Any, ...]] = {
        "rd_kafka_queue_get_consumer": (pointer, pointer),
        "rd_kafka_queue_get_main": (pointer, pointer),
        "rd_kafka_queue_destroy": (None, pointer),
        "rd_kafka_queue_io_event_enable": (
            None,
            pointer,
            ctypes.c_int,
            ctypes.c_char_p,
            ctypes.c_size_t,
        ),
    }
    for name, (result, *arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def _queue(library: ctypes.CDLL, client: Consumer | Producer) -> int:
    """The queue that `consume` or `poll` reads, as librdkafka's rd_kafka_queue_t*."""
    consumes = isinstance(client, Consumer)
    find = library.rd_kafka_queue_get_consumer if consumes else library.rd_kafka_queue_get_main
    queue: int = find(_handle(client))
    return queue


def _handle(client: Consumer | Producer) -> int:
    """librdkafka's rd_kafka_t* of a client that is not closed."""
    handle = ctypes.c_void_p.from_address(id(client) + object.__basicsize__).value
    if handle is None:
        raise ValueError(f"{client!r} is closed")
    return handle


_library = _load()
