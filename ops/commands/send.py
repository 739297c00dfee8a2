"""`messenger send`: one message from the terminal."""

import asyncio

import click

from ops.sending import show_sent, until_sent
from ops.session import connection_options


@click.command()
@connection_options
@click.option("--to", required=True, metavar="USER", help="the recipient")
@click.option("--timeout", default=30.0, show_default=True, help="seconds to wait until it is sent")
@click.argument("text")
def command(
    user: str, url: str, token: str | None, device: str, to: str, timeout: float, text: str
) -> None:
    """Send TEXT and print one JSON line with its sequence number once it is sent.

    \b
    Example:
      messenger send --as alice --to bob "Lunch?"
    """
    sent = asyncio.run(
        until_sent(user, url, token, device, timeout, lambda client: client.submit(to, text))
    )
    show_sent(sent, body=text)
