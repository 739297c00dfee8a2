"""What `messenger send` and `tail` share: a client for a user, in local mode or with a token."""

import uuid
from collections.abc import Callable
from typing import Any

import click

from messenger_sdk import Client
from ops.exits import USAGE, fail
from ops.login import default_url, login_token
from schemas.ids import InvalidId, device_id


def connection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--as, --url, --token, --device."""
    for option in (
        click.option(
            "--device",
            default=lambda: f"cli-{uuid.uuid4().hex[:8]}",
            show_default="a new one each time",
            help="the device id; a session of the same device is replaced",
        ),
        click.option(
            "--token",
            envvar="MESSENGER_TOKEN",
            help="login token (MESSENGER_TOKEN); made by itself in local mode",
        ),
        click.option(
            "--url",
            default=default_url,
            help="a gateway (MESSENGER_URL); the local stack's first by default",
        ),
        click.option("--as", "user", required=True, metavar="USER", help="who is speaking"),
    ):
        command = option(command)
    return command


def make_client(user: str, url: str, token: str | None, device: str) -> Client:
    """A client inside the running loop; ends the command with code 2 if there is no way to log
    in."""
    try:
        device_id(device)
    except InvalidId as error:
        fail(str(error), USAGE)
    return Client(url, login_token(user, token), device)
