"""The gateway that `messenger` talks to, and login tokens in local mode."""

import os
import time
from pathlib import Path

from msgspec import Struct

from gateway.edge.tokens import issue
from ops.exits import USAGE, fail
from ops.local.home import DEFAULT_BASE_PORT, DEFAULT_HOME, Home
from ops.settings import settings_of
from schemas.ids import InvalidId, user_id


class _LoginSettings(Struct, frozen=True):
    token_secret: str = ""


def local_secret() -> str | None:
    """MESSENGER_TOKEN_SECRET, or the secret in the home of the local stack; None without either."""
    secret = settings_of(_LoginSettings).token_secret
    file = _stack().folder / "token-secret"
    return secret or (file.read_text() if file.exists() else None)


def operator_secret() -> str:
    """MESSENGER_OPERATOR_SECRET, or the one of the local stack. Ends the command with code 2
    without either."""
    secret = os.environ.get("MESSENGER_OPERATOR_SECRET")
    file = _stack().folder / "operator-secret"
    if not secret and not file.exists():
        fail("set MESSENGER_OPERATOR_SECRET, or MESSENGER_HOME to a local stack's home", USAGE)
    return secret or file.read_text()


def login_token(user: str, token: str | None) -> str:
    """`token`, or a token for `user` made with the local secret. Ends the command with code 2 if
    there is neither."""
    try:
        name = user_id(user)
    except InvalidId as error:
        fail(str(error), USAGE)
    if token is not None:
        return token
    secret = local_secret()
    if secret is None:
        fail("no token: give --token, or set MESSENGER_HOME to the home of a local stack", USAGE)
    return issue(name, secret, time.time())


def default_url() -> str:
    """MESSENGER_URL, or the first gateway of the local stack in MESSENGER_HOME."""
    port = os.environ.get("MESSENGER_BASE_PORT")
    port = port or _stack().read_state().get("base_port", DEFAULT_BASE_PORT)
    scheme = "https" if _stack().secure(False) else "http"
    return os.environ.get("MESSENGER_URL", f"{scheme}://127.0.0.1:{port}")


def _stack() -> Home:
    return Home(Path(os.environ.get("MESSENGER_HOME", DEFAULT_HOME)))
