"""Which web pages may reach a node, by what their browser says of them. Pure.

Local mode, in which anybody logs in as anybody, demands more: that only this machine reaches the
node, by its own name, and that no page of another origin does so from a browser on it.
"""

import ipaddress
from typing import NamedTuple
from urllib.parse import urlsplit

from connectors.environment import SettingsError


class BrowserGuard(NamedTuple):
    """`origins`: pages of these may reach the node, and those that it serves itself; without any,
    all may. A client that is no browser names no origin, and needs none."""

    local: bool = False
    origins: frozenset[str] = frozenset()

    def names(self, origin: str | None) -> bool:
        """Whether pages of this origin may read what the node answers."""
        return origin is not None and origin.lower() in self.origins

    def refusal(self, host: str, origin: str | None) -> str | None:
        """Why a request with these headers is refused, None if it is not."""
        if self.local:
            return foreign(host, origin)
        if origin is None or not self.origins or self.names(origin):
            return None
        if _authority(origin) == host.lower():
            return None
        return "no page of this origin may reach this node"


ANY_PAGE = BrowserGuard()


def browser_guard(local: bool, origins: str) -> BrowserGuard:
    """For local mode, and MESSENGER_ORIGINS. Raises SettingsError."""
    return BrowserGuard(local, _origins(origins)) if local or origins else ANY_PAGE


def _origins(setting: str) -> frozenset[str]:
    origins = frozenset(part.strip().lower() for part in setting.split(",") if part.strip())
    for origin in origins:
        scheme, _, authority = origin.partition("://")
        if scheme not in ("http", "https") or not authority or _authority(origin) != authority:
            raise SettingsError(f"MESSENGER_ORIGINS: {origin!r} is not scheme://host[:port]")
    return origins


def is_loopback(host: str) -> bool:
    """Whether a host, as a setting or a header names it, is this machine and nothing else."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def foreign(host: str, origin: str | None) -> str | None:
    """Why a request with these headers to a node in local mode is refused, None if it is not.

    A foreign name in Host is one that a stranger has made to mean 127.0.0.1 (DNS rebinding). A
    foreign Origin is a page of a stranger in this machine's browser.
    """
    if not is_loopback(_host("//" + host)):
        return "local mode answers only to 127.0.0.1 and localhost"
    if origin is not None and _authority(origin) != host.lower():
        return "local mode answers no page of another origin"
    return None


def _authority(url: str) -> str:
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return ""


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
