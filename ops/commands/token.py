"""`messenger token`: a login token, in local mode."""

import time

import click

from gateway.edge.tokens import issue
from ops.exits import USAGE, fail
from ops.login import local_secret
from schemas.ids import InvalidId, user_id


@click.command()
@click.argument("user")
@click.option("--hours", default=168.0, show_default=True, help="how long it is valid")
def command(user: str, hours: float) -> None:
    """Print a login token for USER, made with MESSENGER_TOKEN_SECRET or the secret of the local
    stack in MESSENGER_HOME.

    \b
    Example:
      messenger token alice
    """
    secret = local_secret()
    if secret is None:
        fail(
            "no token secret: set MESSENGER_TOKEN_SECRET, "
            "or MESSENGER_HOME to the folder of a local stack",
            USAGE,
        )
    try:
        click.echo(issue(user_id(user), secret, time.time(), hours * 3600))
    except InvalidId as error:
        fail(str(error), USAGE)
