"""What the commands that send one thing share."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import click

from messenger_sdk import Client, MessengerError, SentMessage
from ops.exits import FAILED, UNREACHABLE, USAGE, fail
from ops.session import make_client
from schemas.ids import InvalidId


async def until_sent(
    user: str,
    url: str,
    token: str | None,
    device: str,
    timeout: float,
    submit: Callable[[Client], Awaitable[SentMessage]],
) -> SentMessage:
    """What `submit` sends has its number; or the command ends."""
    async with await make_client(user, url, token, device) as client:
        try:
            async with asyncio.timeout(timeout):
                await client.online()
                return await submit(client)
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


def show_sent(sent: SentMessage, **more: object) -> None:
    """One line of JSON."""
    line = {"conversation": sent.conversation, "seq": sent.seq, "time": sent.time}
    click.echo(json.dumps(line | more))
