"""`messenger chat`: conversations in the terminal."""

import asyncio
import os
import select
import sys
import time
from contextlib import suppress
from pathlib import Path
from threading import Thread

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
    """Talk to people as USER, on the whole screen. F1 shows all keys. When its terminal goes away,
    it ends with exit code 1.

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
            running = asyncio.create_task(app.run_async())
            gone = asyncio.create_task(_terminal_gone())
            await asyncio.wait((running, gone), return_when=asyncio.FIRST_COMPLETED)
    except MessengerError as error:
        fail(str(error), FAILED)
    if gone.done():
        # Nobody is left to read a line, and Textual might wait for ever to write its last.
        os._exit(FAILED)
    running.result()
    if app.chat.state == "stopped" and app.chat.code:
        known = Close.of(app.chat.code)
        fail(known.text if known else f"closed with code {app.chat.code}", FAILED)


async def _terminal_gone() -> None:
    """Return when the terminal has gone away. SIGHUP would end the process, but it need not come;
    Textual reads at the end of its input again and again then."""
    loop, gone = asyncio.get_running_loop(), asyncio.Event()

    def wait() -> None:
        hung_up = select.poll()
        hung_up.register(sys.stdin, 0)
        hung_up.poll()
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(gone.set)

    Thread(target=wait, daemon=True).start()
    await gone.wait()
