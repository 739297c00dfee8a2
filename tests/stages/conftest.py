"""Stage tests run on virtual time: how busy the machine is changes nothing in them."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from simulation.loop import VirtualLoop

_REAL = "test_runtime.py", "test_worker_transport.py"
"""They have real threads and sockets."""


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], Any]]:
    return {"real": asyncio.new_event_loop} if item.path.name in _REAL else {"virtual": VirtualLoop}
