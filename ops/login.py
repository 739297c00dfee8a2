"""Where `messenger` finds the gateway and its token secret in local mode."""

import os
from pathlib import Path


def local_secret() -> str | None:
    """MESSENGER_TOKEN_SECRET, or the secret kept in the home of the local stack; None if there is neither."""
    secret = os.environ.get("MESSENGER_TOKEN_SECRET")
    file = Path(os.environ.get("MESSENGER_HOME", ".local/stack")) / "token-secret"
    return secret or (file.read_text() if file.exists() else None)


def default_url() -> str:
    """MESSENGER_URL, or the first gateway of the local stack."""
    return os.environ.get("MESSENGER_URL", f"http://127.0.0.1:{os.environ.get('MESSENGER_BASE_PORT', '8400')}")
