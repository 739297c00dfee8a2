"""Traces as a process's settings want them."""

import time
from typing import Annotated, Protocol

from msgspec import Meta

from connectors.environment import SettingsError
from connectors.traces import Traces

Share = Annotated[float, Meta(ge=0, le=1)]


class TraceSettings(Protocol):
    @property
    def traces(self) -> str: ...
    @property
    def traces_share(self) -> float: ...


def traces_of(settings: TraceSettings, process: str) -> Traces | None:
    """None if they are off. Raises SettingsError."""
    if not settings.traces:
        return None
    try:
        from connectors.span_exporter import SpanExporter
    except ImportError as error:
        raise SettingsError(
            f"MESSENGER_TRACES needs a package: pip install 'messenger[traces]' ({error})"
        ) from None
    writer = SpanExporter(settings.traces, process)
    return Traces(writer, settings.traces_share, lambda: time.time() * 1000)
