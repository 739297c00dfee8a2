"""`messenger accept`."""

import asyncio

import click

from ops.people import online
from ops.session import connection_options


@click.command()
@connection_options
@click.argument("other", metavar="WHOM")
def command(user: str, url: str, token: str | None, device: str, other: str) -> None:
    """Accept a user's message request, or name a user as a contact. Returns when it counts.

    \b
    Example:
      messenger accept --as alice bob
    """

    async def decide() -> None:
        async with online(user, url, token, device) as client:
            await client.accept(other)

    asyncio.run(decide())
