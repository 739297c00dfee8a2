"""`messenger unblock`."""

import asyncio

import click

from ops.people import online
from ops.session import connection_options


@click.command()
@connection_options
@click.argument("other", metavar="WHOM")
def command(user: str, url: str, token: str | None, device: str, other: str) -> None:
    """Block a user no more: it is as before the block. Returns when it counts.

    \b
    Example:
      messenger unblock --as alice bob
    """

    async def decide() -> None:
        async with online(user, url, token, device) as client:
            await client.unblock(other)

    asyncio.run(decide())
