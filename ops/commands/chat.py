"""`messenger chat`: conversations in the terminal."""

import asyncio
import time
from pathlib import Path

import click

from messenger_sdk import MessengerError
from ops.exits import FAILED, USAGE, fail
from ops.login import login_token
from ops.session import gateway_options, make_client
from schemas.codes import Close
from schemas.ids import InvalidId, conversation_of, user_id


@click.command()
@gateway_options
@click.argument("user")
@click.option("--with", "peer", metavar="PEER", help="open the conversation with this user")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="where to keep what was not sent when you leave; one for each device",
)
@click.option("--light", is_flag=True, help="begin with dark letters on light ground")
def command(
    user: str,
    url: str,
    token: str | None,
    device: str,
    peer: str | None,
    folder: Path | None,
    light: bool,
) -> None:
    """Talk to people as USER, on the whole screen. F1 shows all keys.

    \b
    Example:
      messenger chat alice --with bob
    """
    try:
        if peer is not None:
            conversation_of(user_id(user), user_id(peer))
    except InvalidId as error:
        fail(str(error), USAGE)
    asyncio.run(_chat(user, url, login_token(user, token), device, peer, folder, light))


async def _chat(
    user: str,
    url: str,
    token: str,
    device: str,
    peer: str | None,
    folder: Path | None,
    light: bool,
) -> None:
    # Textual takes a quarter of a second, which no other command should
    try:
        from ops.chat.app import ChatApp
        from ops.chat.listing import list_conversations
    except ModuleNotFoundError as error:
        fail(f"{error.name} is not installed: the extra `chat` brings it", USAGE)

    try:
        async with await make_client(user, url, token, device, folder) as client:
            app = ChatApp(
                user,
                client,
                lambda: list_conversations(url, token),
                lambda: int(time.time() * 1000),
                peer,
                light,
            )
            await app.run_async()
    except MessengerError as error:
        fail(str(error), FAILED)
    if app.chat.state == "stopped" and app.chat.code:
        known = Close.of(app.chat.code)
        fail(known.text if known else f"closed with code {app.chat.code}", FAILED)
