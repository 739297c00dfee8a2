"""A real sequencer worker that kills itself at a named point of its work.

usage: python -m tests.harness.crashing_worker POINT AFTER     (settings as for `messenger worker
sequencer`)

Nothing of the worker is replaced: what its partitions send and hear passes through here, and at the
POINT, once AFTER appends have passed, the process gets SIGKILL.
"""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from agents.builders import WorkerPorts, build_sequencer
from agents.sequencer.io import PartitionIO, SequencerIO
from agents.sequencer.snapshot_reading import Place
from agents.sequencer.snapshot_store import KafkaSnapshots
from agents.settings import WorkerSettings
from agents.worker import run
from connectors.environment import load
from ops.logs import set_up_logging
from schemas.events import Delivered, SnapshotRecord
from streams.stage import StageSpec

POINTS = {
    "folded": "folded, nothing sent",
    "delivered": "deliveries out, append not",
    "appending": "append handed to Kafka, its report not heard",
    "appended": "append in, deliveries not",
    "both": "both in, offset not committed",
}

SNAPSHOT_POINTS = {
    "chunk": "so many chunks of a snapshot are in, its record is not",
    "recorded": "a snapshot's record is in, nothing is deleted",
}
"""AFTER counts chunks. A chunk has one row."""

_DELIVERED_SECONDS = 0.2


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class CrashingIO(SequencerIO):
    point = ""
    after = 0
    appends = 0

    def partition(self, number: int, confirmed: Callable[[], bool]) -> PartitionIO:
        return CrashingPartition(self, number, confirmed)

    @property
    def armed(self) -> bool:
        return bool(self.point) and self.appends > self.after

    @property
    def armed_soon(self) -> bool:
        """With the next append. A batch is delivered before it is appended."""
        return bool(self.point) and self.appends >= self.after


class CrashingSnapshots(KafkaSnapshots):
    chunks = 0

    async def add_chunk(self, value: bytes) -> int:
        if self.chunks == CrashingIO.after and CrashingIO.point == "chunk":
            die()
        self.chunks += 1
        return await super().add_chunk(value)

    async def add(self, record: SnapshotRecord) -> int:
        offset = await super().add(record)
        if CrashingIO.point == "recorded":
            die()
        return offset


class CrashingPartition(PartitionIO):
    _io: CrashingIO

    def __init__(self, io: CrashingIO, number: int, confirmed: Callable[[], bool]) -> None:
        super().__init__(io, number, confirmed)
        place = Place(number, io.partitions)
        self.snapshots = CrashingSnapshots(io.kafka, io.producer, place, io)

    def append(self, value: bytes, report: Callable[[bool, int], None]) -> None:
        io = self._io
        io.appends += 1
        if io.armed and io.point == "delivered":
            # never sent; by then the deliveries are out
            asyncio.get_running_loop().call_later(_DELIVERED_SECONDS, die)
            return

        def reported(ok: bool, offset: int) -> None:
            if io.armed and io.point == "appended":
                die()
            if io.armed and io.point == "appending":
                die()
            self._appended = io.armed
            report(ok, offset)

        super().append(value, reported)

    def deliver(
        self, slot: int, events: Sequence[Delivered], report: Callable[[bool], None]
    ) -> None:
        io = self._io
        if io.armed_soon and io.point == "folded":
            die()
        if io.armed_soon and io.point == "appended":
            return  # never sent: the append's report ends the process

        def reported(ok: bool) -> None:
            if io.armed and io.point == "both" and self._appended:
                die()
            report(ok)

        super().deliver(slot, events, reported)

    _appended = False


def build(ports: WorkerPorts) -> Sequence[StageSpec[Any]]:
    policy = ports.snapshots._replace(chunk_bytes=1)
    return build_sequencer(ports._replace(snapshots=policy), CrashingIO)


if __name__ == "__main__":
    set_up_logging(logging.INFO)
    CrashingIO.point, CrashingIO.after = sys.argv[1], int(sys.argv[2])
    sys.exit(run(load(WorkerSettings, os.environ), [build]))
