"""`messenger contacts`."""

import asyncio

import click

from ops.people import online
from ops.session import connection_options


@click.command()
@connection_options
@click.option("--add", metavar="WHOM", multiple=True, help="name a user as a contact")
@click.option("--remove", metavar="WHOM", multiple=True, help="a contact no more")
def command(
    user: str,
    url: str,
    token: str | None,
    device: str,
    add: tuple[str, ...],
    remove: tuple[str, ...],
) -> None:
    """Print a user's contacts, a line each, after what is to be changed counts.

    \b
    Example:
      messenger contacts --as alice --add bob
    """

    async def show() -> None:
        async with online(user, url, token, device) as client:
            for other in add:
                await client.add_contact(other)
            for other in remove:
                await client.remove_contact(other)
            for other in sorted(await client.contacts()):
                click.echo(other)

    asyncio.run(show())
