"""`messenger blocked`."""

import asyncio

import click

from ops.people import online
from ops.session import connection_options


@click.command()
@connection_options
def command(user: str, url: str, token: str | None, device: str) -> None:
    """Print whom a user has blocked, a line each.

    \b
    Example:
      messenger blocked --as alice
    """

    async def show() -> None:
        async with online(user, url, token, device) as client:
            for other in sorted(await client.blocked()):
                click.echo(other)

    asyncio.run(show())
