"""A real sequencer worker that hangs.

usage: python -m tests.harness.hanging_worker WHERE     (settings as for `messenger worker
sequencer`)

Nothing of the worker is replaced but the call at which it hangs for ever.
"""

import asyncio
import functools
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence

from agents.builders import build_sequencer
from agents.rules.fanout import Routes
from agents.sequencer.io import PartitionIO, SequencerIO
from agents.sequencer.restore import Restored
from agents.settings import WorkerSettings
from agents.worker import run
from connectors.environment import load
from ops.logs import set_up_logging
from streams.faust_adapter.app import StageApp

WHERE = {
    "append": "an append that Kafka never reports on",
    "restore": "a state that is never restored",
    "loop": "a call that never gives the loop back",
}
"""What the watchdog ends; beside them there is "stop": Faust's stop never ends."""


class HangingIO(SequencerIO):
    where = ""

    def partition(self, number: int, confirmed: Callable[[], bool]) -> PartitionIO:
        return HangingPartition(self, number, confirmed)


class HangingPartition(PartitionIO):
    _io: HangingIO

    def append(self, value: bytes, report: Callable[[bool, int], None]) -> None:
        if self._io.where != "append":
            super().append(value, report)

    def restore(self, stopped: Callable[[], bool], at: Callable[[int, int], None]) -> Restored:
        if self._io.where == "restore":
            threading.Event().wait()
        return super().restore(stopped, at)

    async def lookup(self, users: Sequence[str]) -> Routes:
        if self._io.where == "loop":
            time.sleep(3600)  # noqa: ASYNC251  (that is the point)
        return await super().lookup(users)


async def hang(app: StageApp) -> None:
    await asyncio.Event().wait()


if __name__ == "__main__":
    set_up_logging(logging.INFO)
    HangingIO.where = sys.argv[1]
    if HangingIO.where == "stop":
        StageApp._stop_fetcher = hang
    sys.exit(
        run(
            load(WorkerSettings, os.environ),
            [functools.partial(build_sequencer, kind=HangingIO)],
        )
    )
