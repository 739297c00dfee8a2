"""`messenger privacy`."""

import asyncio
from typing import get_args

import click

from ops.people import online
from ops.session import connection_options
from schemas.frames import Shown


@click.command()
@connection_options
@click.option(
    "--presence",
    type=click.Choice(get_args(Shown)),
    help="who sees whether the user is there, was seen last and types",
)
@click.option("--reads/--no-reads", default=None, help="whether others see what they have read")
def command(
    user: str,
    url: str,
    token: str | None,
    device: str,
    presence: Shown | None,
    reads: bool | None,
) -> None:
    """Print what a user shows to others, after what is to be changed counts.

    \b
    Example:
      messenger privacy --as alice --presence contacts --no-reads
    """

    async def show() -> None:
        async with online(user, url, token, device) as client:
            shown = await client.privacy()
            if presence is not None or reads is not None:
                await client.set_privacy(
                    shown.presence if presence is None else presence,
                    shown.reads if reads is None else reads,
                )
                shown = await client.privacy()
            click.echo(f"presence {shown.presence}")
            click.echo(f"reads {'everyone' if shown.reads else 'nobody'}")

    asyncio.run(show())
