"""Faust's monitor without the work per event: the web pages keep their figures, sensors that nobody
reads cost nothing."""

import time
from typing import Any

from faust.sensors import Monitor
from faust.types import TP


class LightMonitor(Monitor):
    """Counts events; one event is everything that was fetched, so messages/s stand on the stage's
    own page. The consumer writes down the offsets, of all partitions of an event."""

    def on_message_in(self, tp: TP, offset: int, message: Any) -> None:
        self.messages_received_total += 1

    def on_message_out(self, tp: TP, offset: int, message: Any) -> None:
        pass

    def on_stream_event_in(self, tp: TP, offset: int, stream: Any, event: Any) -> None:
        self.events_total += 1
        self.stream_inbound_time[tp] = time.monotonic()

    def on_stream_event_out(
        self, tp: TP, offset: int, stream: Any, event: Any, state: Any = None
    ) -> None:
        pass
