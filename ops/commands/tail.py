"""`messenger tail`: what a device sees, at the terminal."""

import asyncio
import contextlib
import json

import click

from messenger_sdk import MessageReceived, StateChanged
from ops.exits import FAILED, fail
from ops.session import connection_options, make_client
from schemas.codes import Close


@click.command()
@connection_options
@click.option("--count", type=click.IntRange(min=1), help="end after this many messages")
def command(user: str, url: str, token: str | None, device: str, count: int | None) -> None:
    """Print one JSON line per event: messages of all the user's conversations, and states of the
    connection.

    \b
    Example:
      messenger tail --as bob --count 1
    """
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_tail(user, url, token, device, count))


async def _tail(user: str, url: str, token: str | None, device: str, count: int | None) -> None:
    async with await make_client(user, url, token, device) as client:
        async for event in client:
            if isinstance(event, MessageReceived):
                line = {
                    "event": "message",
                    "conversation": event.conversation,
                    "seq": event.seq,
                    "from": event.sender,
                }
                more = {"changes": event.changes, "erased": event.erased}
                line |= {name: value for name, value in more.items() if value}
                click.echo(json.dumps({**line, "time": event.time, "body": event.body}))
                count = None if count is None else count - 1
                if count == 0:
                    return
            elif isinstance(event, StateChanged):
                click.echo(json.dumps({"event": "state", "state": event.state, "code": event.code}))
                if event.state == "stopped":
                    known = Close.of(event.code)
                    fail(known.text if known else f"closed with code {event.code}", FAILED)
