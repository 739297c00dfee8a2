"""`messenger edit`: a new text for an own message, from the terminal."""

import asyncio

import click

from ops.sending import show_sent, until_sent
from ops.session import connection_options


@click.command()
@connection_options
@click.option("--to", required=True, metavar="USER", help="to whom it was sent")
@click.option("--timeout", default=30.0, show_default=True, help="seconds to wait until it is done")
@click.argument("seq", type=click.IntRange(min=1))
@click.argument("text")
def command(
    user: str,
    url: str,
    token: str | None,
    device: str,
    to: str,
    timeout: float,
    seq: int,
    text: str,
) -> None:
    """Give message SEQ, which the user has sent, the text TEXT on all devices of both, and print
    one JSON line with the number of the change.

    \b
    Example:
      messenger edit --as alice --to bob 1 "Dinner?"
    """
    sent = asyncio.run(
        until_sent(user, url, token, device, timeout, lambda client: client.edit(to, seq, text))
    )
    show_sent(sent, changes=seq, body=text)
