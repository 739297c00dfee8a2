"""`messenger revoke`: make tokens of a user, or of one device, useless."""

import json
import time
import urllib.error
import urllib.request
from typing import Any

import click

from ops.exits import FAILED, UNREACHABLE, USAGE, fail
from ops.login import default_url, operator_secret
from schemas.ids import InvalidId, device_id, user_id

_TIMEOUT = 10.0


@click.group()
def command() -> None:
    """Make tokens useless that were made until now, on all nodes, and close their sockets (4506).
    Needs MESSENGER_OPERATOR_SECRET (or a local stack). It can be repeated, and not taken back: the
    person logs in again.

    \b
    Examples:
      messenger revoke user bob
      messenger revoke device bob old-phone
    """


_url = click.option(
    "--url",
    default=default_url,
    help="a gateway (MESSENGER_URL); the local stack's first by default",
)
_before = click.option(
    "--before", type=int, help="only tokens that were made before this time (ms since 1970)"
)


@command.command()
@click.argument("user")
@_url
@_before
def user(user: str, url: str, before: int | None) -> None:
    """All tokens of USER. Example: messenger revoke user bob"""
    _revoke(url, {"user": user, "before": before})


@command.command()
@click.argument("user")
@click.argument("device")
@_url
@_before
def device(user: str, device: str, url: str, before: int | None) -> None:
    """The tokens with which DEVICE of USER comes. Example: messenger revoke device bob old-phone"""
    try:
        device_id(device)
    except InvalidId as error:
        fail(str(error), USAGE)
    _revoke(url, {"user": user, "device": device, "before": before})


def _revoke(url: str, what: dict[str, Any]) -> None:
    from gateway.edge.tokens import issue_operator

    try:
        user_id(what["user"])
    except InvalidId as error:
        fail(str(error), USAGE)
    token = issue_operator(operator_secret(), time.time())
    request = urllib.request.Request(
        url.rstrip("/") + "/v1/revocations",
        json.dumps(what).encode(),
        {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        method="POST",
    )
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
            click.echo(answer.read().decode())
    except urllib.error.HTTPError as error:
        fail(f"{url}: {error.code} {error.read().decode(errors='replace')}", FAILED)
    except (OSError, ValueError) as error:
        fail(f"{url}: {error}", UNREACHABLE)
