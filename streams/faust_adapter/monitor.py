"""Faust's monitor, fed without Faust's sensors: the web pages keep their figures, and an event
costs one call."""

import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from faust.sensors import Monitor
from faust.types import TP
from mode import Service


class Offsets(NamedTuple):
    """Of one input: which record is read next, and which Kafka will append next."""

    tp: TP
    read: int
    end: int


class LightMonitor(Monitor):
    """Counts events; one event is everything that was fetched, so messages/s stand on the stage's
    own page. `offsets`, of all stages of the worker, are asked for when somebody looks: Faust would
    hold the last record that was read against the end, and call that a lag of one."""

    offsets: Callable[[], Iterable[Offsets]] = staticmethod(tuple)

    def count(self, tp: TP) -> None:
        """An event has come to the agent."""
        self.messages_received_total += 1
        self.events_total += 1
        self.stream_inbound_time[tp] = time.monotonic()

    def _tp_read_offsets_dict(self) -> dict[str, dict[int, int]]:
        return self._tp_offsets_as_dict({one.tp: one.read for one in self.offsets()})

    def _tp_end_offsets_dict(self) -> dict[str, dict[int, int]]:
        return self._tp_offsets_as_dict({one.tp: one.end for one in self.offsets()})

    @Service.task
    async def _sampler(self) -> None:
        """Not each second: the stage measures its own rates (streams/rates.py)."""
