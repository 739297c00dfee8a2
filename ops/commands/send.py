"""`messenger send`: one message from the terminal."""

import asyncio
import json

import click

from messenger_sdk import MessengerError
from ops.exits import FAILED, UNREACHABLE, USAGE, fail
from ops.session import connection_options, make_client
from schemas.ids import InvalidId


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
    asyncio.run(_send(user, url, token, device, to, timeout, text))


async def _send(
    user: str, url: str, token: str | None, device: str, to: str, timeout: float, text: str
) -> None:
    async with await make_client(user, url, token, device) as client:
        try:
            async with asyncio.timeout(timeout):
                await client.online()
                sent = await client.send(to, text)
        except TimeoutError:
            fail(
                f"not sent within {timeout:g} s; the gateway at {url} or what is behind it does "
                "not answer",
                UNREACHABLE,
            )
        except InvalidId as error:
            fail(str(error), USAGE)
        except MessengerError as error:
            fail(str(error), FAILED)
    click.echo(
        json.dumps(
            {"conversation": sent.conversation, "seq": sent.seq, "time": sent.time, "body": text}
        )
    )
