"""`messenger devices`: a user's devices, and one of them logged out."""

import json
import urllib.error
import urllib.request

import click

from ops.exits import FAILED, UNREACHABLE, fail
from ops.login import default_url, login_token
from ops.trust import open_page

_TIMEOUT = 10.0


@click.command()
@click.option("--as", "user", required=True, metavar="USER", help="whose devices")
@click.option(
    "--url",
    default=default_url,
    help="a gateway (MESSENGER_URL); the local stack's first by default",
)
@click.option(
    "--token",
    envvar="MESSENGER_TOKEN",
    help="login token (MESSENGER_TOKEN); made by itself in local mode",
)
@click.option(
    "--log-out", metavar="DEVICE", help="close this device's sockets and forget what it has read"
)
def command(user: str, url: str, token: str | None, log_out: str | None) -> None:
    """Print one JSON line per device of a user: its id, and whether it is online.

    \b
    Example:
      messenger devices --as bob
      messenger devices --as bob --log-out old-phone
    """
    bearer = login_token(user, token)
    path = f"/v1/devices/{log_out}" if log_out else "/v1/devices"
    request = urllib.request.Request(
        url.rstrip("/") + path,
        headers={"Authorization": f"Bearer {bearer}"},
        method="DELETE" if log_out else "GET",
    )
    try:
        with open_page(request, _TIMEOUT) as answer:
            body = answer.read()
    except urllib.error.HTTPError as error:
        fail(f"{url}: {error.code} {error.read().decode(errors='replace')}", FAILED)
    except (OSError, ValueError) as error:
        fail(f"{url}: {error}", UNREACHABLE)
    for device in json.loads(body)["devices"] if body else ():
        click.echo(json.dumps(device))
