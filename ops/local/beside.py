"""Settings of a process that a person begins beside the local stack."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from connectors.environment import FILE, SettingsError
from ops.local.home import DEFAULT_HOME, Home
from ops.local.parts import Layout
from ops.settings import settings_of

_ELSEWHERE = (
    *("MESSENGER_KAFKA", "MESSENGER_KAFKA_FILE", "MESSENGER_REDIS", "MESSENGER_REDIS_FILE"),
    FILE,
)
"""With any of these it belongs to another system."""

_Settings = TypeVar("_Settings", bound=Struct)


def settings_beside(
    kind: type[_Settings], told: Callable[[Layout], Mapping[str, str]]
) -> tuple[_Settings, Home | None]:
    """As `settings_of`. Where nothing names a system, it is the local one, and `told` gives what is
    unset; then the home of that is returned, too. Raises SettingsError."""
    if any(os.environ.get(name) for name in _ELSEWHERE):
        return settings_of(kind), None
    home = Home(Path(os.environ.get("MESSENGER_HOME", DEFAULT_HOME)))
    base_port = home.read_state().get("base_port")
    if base_port is None:
        try:
            return settings_of(kind), None
        except SettingsError as error:
            raise SettingsError(f"{error}; no local stack runs in {home.folder}") from None
    counts = home.partitions(None), home.brokers(None)
    layout = Layout(home, base_port, 0, 0, None, None, None, *counts, home.secure(False))
    return settings_of(kind, told(layout)), home
