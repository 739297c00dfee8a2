"""`messenger history`: what was said, page by page, at the terminal."""

import asyncio
import json

import click

from messenger_sdk import HistoryPage, MessengerError
from ops.exits import FAILED, USAGE, fail
from ops.session import connection_options, make_client
from schemas.frames import MAX_PAGE_MESSAGES
from schemas.ids import InvalidId, conversation_of, user_id


@click.command()
@connection_options
@click.option(
    "--with", "peer", required=True, metavar="USER", help="the other one of the conversation"
)
@click.option(
    "--before", type=click.IntRange(min=1), help="messages below this number; the newest by default"
)
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="at most so many"
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.1),
    default=30.0,
    show_default=True,
    help="seconds to wait in all",
)
def command(
    user: str,
    url: str,
    token: str | None,
    device: str,
    peer: str,
    before: int | None,
    limit: int,
    timeout: float,
) -> None:
    """Print one JSON line per message of a conversation, oldest first.

    \b
    Example:
      messenger history --as bob --with alice --limit 10
    Exit code 1 if the server cannot answer in time, or refuses.
    """
    try:
        conversation = conversation_of(user_id(user), user_id(peer))
    except InvalidId as error:
        fail(str(error), USAGE)
    try:
        pages = asyncio.run(_read(user, url, token, device, conversation, before, limit, timeout))
    except TimeoutError:
        fail(f"no answer within {timeout:g} s", FAILED)
    except MessengerError as error:
        fail(str(error), FAILED)
    for page in reversed(pages):
        for message in page.messages:
            line = {
                "seq": message.seq,
                "from": message.sender,
                "time": message.time,
                "body": message.body,
            }
            more = {"erased": message.erased, "changes": message.changes}
            click.echo(json.dumps(line | {name: value for name, value in more.items() if value}))


async def _read(
    user: str,
    url: str,
    token: str | None,
    device: str,
    conversation: str,
    before: int | None,
    limit: int,
    timeout: float,
) -> list[HistoryPage]:
    """Newest page first."""
    pages: list[HistoryPage] = []
    async with asyncio.timeout(timeout), await make_client(user, url, token, device) as client:
        while limit and not (pages and pages[-1].first):
            page = await client.history(
                conversation, before=before, limit=min(limit, MAX_PAGE_MESSAGES)
            )
            pages.append(page)
            limit -= len(page.messages)
            if not page.messages:
                break
            before = page.messages[0].seq
    return pages
