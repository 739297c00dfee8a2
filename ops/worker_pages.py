"""How `messenger` reaches the pages of workers and nodes, and shows that it may see them."""

import os
import ssl
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from connectors.environment import SettingsError
from ops.local.home import DEFAULT_HOME, Home
from ops.trust import trusted


def login() -> Mapping[str, str]:
    """The header with MESSENGER_STATUS_TOKEN, or with that of the local stack; none without."""
    file = Path(os.environ.get("MESSENGER_HOME", DEFAULT_HOME)) / "status-token"
    token = os.environ.get("MESSENGER_STATUS_TOKEN") or (
        file.read_text().strip() if file.exists() else ""
    )
    return {"Authorization": f"Bearer {token}"} if token else {}


def scheme() -> Literal["http", "https"]:
    """How workers serve their pages, if no URL says it: by TLS with MESSENGER_WORKER_CA, and in a
    local stack of SECURE=1."""
    home = Home(Path(os.environ.get("MESSENGER_HOME", DEFAULT_HOME)))
    return "https" if os.environ.get("MESSENGER_WORKER_CA") or home.secure(False) else "http"


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
    request = urllib.request.Request(url, body, dict(login()))
    https = urllib.request.HTTPSHandler(context=trusted_workers())
    return urllib.request.build_opener(https, _NoRedirects).open(request, timeout=seconds)
