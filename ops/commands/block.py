"""`messenger block`."""

import asyncio

import click

from ops.people import online
from ops.session import connection_options


@click.command()
@connection_options
@click.argument("other", metavar="WHOM")
def command(user: str, url: str, token: str | None, device: str, other: str) -> None:
    """Block a user: they cannot write to USER, nor see who is there, types or has read. Returns
    when it counts.

    \b
    Example:
      messenger block --as alice bob
    """

    async def decide() -> None:
        async with online(user, url, token, device) as client:
            await client.block(other)

    asyncio.run(decide())
