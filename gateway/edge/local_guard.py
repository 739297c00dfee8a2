"""What local mode demands, in which anybody logs in as anybody: that only this machine reaches the
node, and that no page of another origin does so from a browser on it. Pure."""

import ipaddress
from urllib.parse import urlsplit


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
