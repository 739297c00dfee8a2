"""Faust's monitor without the work per event: the web pages keep their figures, sensors that nobody
reads cost nothing."""

import time
from typing import Any

from faust.sensors import Monitor
from faust.types import TP


class LightMonitor(Monitor):
    """Counts events and offsets; one event is one fetched batch, so messages/s stand on the stage's
    own page."""

    def on_message_in(self, tp: TP, offset: int, message: Any) -> None:
        self.messages_received_total += 1
        self.tp_read_offsets[tp] = offset

    def on_message_out(self, tp: TP, offset: int, message: Any) -> None:
        pass

    def on_stream_event_in(self, tp: TP, offset: int, stream: Any, event: Any) -> None:
        self.events_total += 1
        self.stream_inbound_time[tp] = time.monotonic()

    def on_stream_event_out(
        self, tp: TP, offset: int, stream: Any, event: Any, state: Any = None
    ) -> None:
        pass
