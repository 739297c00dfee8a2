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
import time
from collections.abc import Callable, Sequence

from agents.earlier_worker import build_sequencer, run
from agents.rules.fanout import Routes
from agents.sequencer.io import PartitionIO, SequencerIO
from agents.sequencer.restore import Restored
from agents.settings import WorkerSettings
from connectors.environment import load
from ops.logs import set_up_logging
from streams.faust_adapter.app import PipelineApp

WHERE = {
    "append": "an append that Kafka never reports on",
    "restore": "a state that is never restored",
    "loop": "a call that never gives the loop back",
}
"""What the watchdog ends; beside them there is "stop": Faust's stop never ends."""


class HangingOutside(SequencerIO):
    where = ""

    def partition(self, number: int) -> PartitionIO:
        return HangingPartition(self, number)


class HangingPartition(PartitionIO):
    _outside: HangingOutside

    def append(self, value: bytes, report: Callable[[bool, int], None]) -> None:
        if self._outside.where != "append":
            super().append(value, report)

    async def restore(self, stopped: Callable[[], bool]) -> Restored:
        if self._outside.where == "restore":
            await asyncio.Event().wait()
        return await super().restore(stopped)

    async def lookup(self, users: Sequence[str], begun: Sequence[str]) -> Routes:
        if self._outside.where == "loop":
            time.sleep(3600)  # noqa: ASYNC251  (that is the point)
        return await super().lookup(users, begun)


async def hang(app: PipelineApp) -> None:
    await asyncio.Event().wait()


if __name__ == "__main__":
    set_up_logging(logging.INFO)
    HangingOutside.where = sys.argv[1]
    if HangingOutside.where == "stop":
        PipelineApp._stop_fetcher = hang
    sys.exit(
        run(
            load(WorkerSettings, os.environ),
            [functools.partial(build_sequencer, kind=HangingOutside)],
        )
    )
