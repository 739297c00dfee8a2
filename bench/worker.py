"""A worker that a part of the benchmark starts beside its stack."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from bench.system import Checkout, System

_STOP_SECONDS = 60.0
"""A worker that is told to stop writes its state first."""


class Worker(NamedTuple):
    """Its process, and where it writes."""

    process: subprocess.Popen[bytes]
    log: Path
    state: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def require(self) -> None:
        """Raises RuntimeError, with the last line of its log, if it has ended."""
        code = self.process.poll()
        if code is not None:
            said = self.log.read_text(errors="replace").strip().rpartition("\n")[2]
            raise RuntimeError(f"the worker has ended (code {code}): {said}")


@contextmanager
def worker(
    checkout: Checkout,
    stack: System,
    stage: str,
    port: int,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Worker]:
    """A worker of one stage, whose pages are at `port`. Its state stays in the stack's folder, so
    the next one of this stage goes on from it."""
    log, state = stack.home / f"bench-{stage}.log", stack.home / f"bench-{stage}"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [str(checkout.python), "-m", "ops", "worker", stage],
            cwd=checkout.folder,
            env={
                **os.environ,
                "MESSENGER_KAFKA": stack.kafka,
                "MESSENGER_LOCAL": "1",
                "MESSENGER_REDIS": stack.redis,
                "MESSENGER_STATE_DIR": str(state),
                "MESSENGER_WEB_PORT": str(port),
                **environment,
            },
            stderr=out,
        )
    try:
        yield Worker(process, log, state)
    finally:
        process.terminate()
        process.wait(_STOP_SECONDS)
