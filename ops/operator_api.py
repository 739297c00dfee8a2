"""Requests of an operator to a gateway, for `messenger`."""

import time
import urllib.error
import urllib.request
from typing import Any

import click
import msgspec

from gateway.edge.tokens import issue_operator
from ops.exits import FAILED, UNREACHABLE, USAGE, fail
from ops.login import default_url, operator_secret
from ops.trust import open_page
from schemas.ids import InvalidId, device_id, user_id

_TIMEOUT = 20.0

url_option = click.option(
    "--url",
    default=default_url,
    help="a gateway (MESSENGER_URL); the local stack's first by default",
)


def ask(url: str, method: str, path: str, body: Any = None) -> bytes:
    """The answer to a request under `/v1/operator`. Ends the command if it fails."""
    headers = {"Authorization": f"Bearer {issue_operator(operator_secret(), time.time())}"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    request = urllib.request.Request(
        f"{url.rstrip('/')}/v1/operator/{path}",
        None if body is None else msgspec.json.encode(body),
        headers,
        method=method,
    )
    try:
        with open_page(request, _TIMEOUT) as answer:
            told: bytes = answer.read()
            return told
    except urllib.error.HTTPError as error:
        fail(f"{url}: {error.code} {error.read().decode(errors='replace')}", FAILED)
    except (OSError, ValueError) as error:
        fail(f"{url}: {error}", UNREACHABLE)


def check_ids(*users: str, device: str = "") -> None:
    """Ends the command with code 2 if one is none."""
    try:
        for user in users:
            user_id(user)
        if device:
            device_id(device)
    except InvalidId as error:
        fail(str(error), USAGE)
