"""Faust's monitor, fed without Faust's sensors: the web pages keep their figures, and an event
costs one call."""

import time

from faust.sensors import Monitor
from faust.types import TP


class LightMonitor(Monitor):
    """Counts events; one event is everything that was fetched, so messages/s stand on the stage's
    own page. The consumer writes down the offsets, of all partitions of an event."""

    def count(self, tp: TP) -> None:
        """An event has come to the agent."""
        self.messages_received_total += 1
        self.events_total += 1
        self.stream_inbound_time[tp] = time.monotonic()
