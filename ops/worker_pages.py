"""How `messenger` shows a worker or a node that it may see its pages."""

import os
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from ops.local.home import DEFAULT_HOME


def login() -> Mapping[str, str]:
    """The header with MESSENGER_STATUS_TOKEN, or with that of the local stack; none without."""
    file = Path(os.environ.get("MESSENGER_HOME", DEFAULT_HOME)) / "status-token"
    token = os.environ.get("MESSENGER_STATUS_TOKEN") or (
        file.read_text().strip() if file.exists() else ""
    )
    return {"Authorization": f"Bearer {token}"} if token else {}


def asking(url: str, body: bytes | None = None) -> urllib.request.Request:
    """A request for a page of a worker; with a body, a POST."""
    return urllib.request.Request(url, body, dict(login()))
