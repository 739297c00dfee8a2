"""`messenger requests`."""

import asyncio

import click

from ops.people import online
from ops.session import connection_options


@click.command()
@connection_options
def command(user: str, url: str, token: str | None, device: str) -> None:
    """Print whose message requests wait for what a user decides, a line each.

    \b
    Example:
      messenger requests --as alice
    """

    async def show() -> None:
        async with online(user, url, token, device) as client:
            for other in sorted(await client.requests()):
                click.echo(other)

    asyncio.run(show())
