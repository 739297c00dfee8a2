"""How `messenger` reaches the pages of workers and nodes, and shows that it may see them."""

import os
import ssl
import urllib.request
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from connectors.environment import SettingsError
from ops.local.home import DEFAULT_HOME, Home
from ops.trust import trusted


def page_url(address: str) -> str:
    """Where the pages of a worker or gateway are, which an operator or a worker's claim names as
    HOST:PORT or as a URL. A URL says itself whether it is by TLS. HOST:PORT is if there is
    MESSENGER_WORKER_CA, and on this machine if the local stack is one of SECURE=1. Raises
    SettingsError."""
    known = "://" in address
    secure = os.environ.get("MESSENGER_WORKER_CA") or (
        _is_here(f"//{address}") and _home().secure(False)
    )
    url = (address if known else f"http{'s' * bool(secure)}://{address}").rstrip("/")
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise SettingsError(
            f"{address} is no address of a worker or gateway: HOST:PORT, or a URL that begins with"
            " http:// or https://"
        )
    return url


def login(url: str) -> Mapping[str, str]:
    """The header with MESSENGER_STATUS_TOKEN. Without that setting, the token of the local stack,
    which no other machine gets; nothing if there is neither."""
    file = _home().folder / "status-token"
    token = os.environ.get("MESSENGER_STATUS_TOKEN") or (
        file.read_text().strip() if _is_here(url) and file.exists() else ""
    )
    return {"Authorization": f"Bearer {token}"} if token else {}


def _home() -> Home:
    return Home(Path(os.environ.get("MESSENGER_HOME", DEFAULT_HOME)))


def _is_here(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def trusted_workers() -> ssl.SSLContext:
    """Trusts MESSENGER_WORKER_CA, too. Raises SettingsError if that cannot be used."""
    context = trusted()
    if authority := os.environ.get("MESSENGER_WORKER_CA"):
        try:
            context.load_verify_locations(authority)
        except OSError as error:
            raise SettingsError(f"MESSENGER_WORKER_CA: {authority}: {error}") from None
    return context


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """urllib would send the token along, to whatever host an answer names."""

    def redirect_request(self, *_: object) -> None:
        """The redirect is raised as an HTTPError."""


def ask(url: str, seconds: float, body: bytes | None = None) -> Any:
    """As `urllib.request.urlopen`, of a page of a worker; with a body, a POST. It follows no
    redirect."""
    request = urllib.request.Request(url, body, dict(login(url)))
    https = urllib.request.HTTPSHandler(context=trusted_workers())
    return urllib.request.build_opener(https, _NoRedirects).open(request, timeout=seconds)
