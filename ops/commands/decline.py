"""`messenger decline`."""

import asyncio

import click

from ops.people import online
from ops.session import connection_options


@click.command()
@connection_options
@click.argument("other", metavar="WHOM")
def command(user: str, url: str, token: str | None, device: str, other: str) -> None:
    """Decline a user's message request: they may write nothing more, and are not told. Returns
    when it counts.

    \b
    Example:
      messenger decline --as alice bob
    """

    async def decide() -> None:
        async with online(user, url, token, device) as client:
            await client.decline(other)

    asyncio.run(decide())
