"""What commands that speak for a user share: a client for a user, in local mode or with a token."""

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from messenger_sdk import Client
from messenger_sdk.aiohttp_dialer import AiohttpDialer
from ops.exits import USAGE, fail
from ops.login import default_url, login_token
from ops.trust import require_trust, trusted
from schemas.ids import InvalidId, device_id


def connection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--as, --url, --token, --device."""
    speaking = click.option("--as", "user", required=True, metavar="USER", help="who is speaking")
    return speaking(gateway_options(command))


def gateway_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--url, --token, --device."""
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
    ):
        command = option(command)
    return command


async def make_client(
    user: str, url: str, token: str | None, device: str, folder: Path | None = None
) -> Client:
    """Ends the command with code 2 if there is no way to log in, with code 3 if the gateway's
    certificate is not trusted."""
    try:
        device_id(device)
    except InvalidId as error:
        fail(str(error), USAGE)
    login = login_token(user, token)
    await require_trust(url)
    return Client(url, login, device, folder=folder, dialer=AiohttpDialer(trusted()))
