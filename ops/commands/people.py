"""What a user decides about another one, and lists of it: `messenger block`, `blocked` …"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import click

from messenger_sdk import Client
from ops.people import online
from ops.session import connection_options

_DECISIONS = {
    "block": (
        Client.block,
        "Block a user: they cannot write to USER, nor see who is there, types or has read.",
    ),
    "unblock": (Client.unblock, "Block a user no more: it is as before the block."),
    "accept": (Client.accept, "Accept a user's message request, or name a user as a contact."),
    "decline": (
        Client.decline,
        "Decline a user's message request: they may write nothing more, and are not told.",
    ),
}
_LISTS = {
    "blocked": (Client.blocked, "Print whom a user has blocked, a line each."),
    "requests": (
        Client.requests,
        "Print whose message requests wait for what a user decides, a line each.",
    ),
}


def _decision(
    name: str, decide: Callable[[Client, str], Awaitable[object]], about: str
) -> click.Command:
    @click.command(name, help=f"{about} Returns when it counts.{_example(name, ' bob')}")
    @connection_options
    @click.argument("other", metavar="WHOM")
    def command(other: str, **connection: Any) -> None:
        async def run() -> None:
            async with online(**connection) as client:
                await decide(client, other)

        asyncio.run(run())

    return command


def _list(
    name: str, ask: Callable[[Client], Awaitable[Iterable[str]]], about: str
) -> click.Command:
    @click.command(name, help=f"{about}{_example(name)}")
    @connection_options
    def command(**connection: Any) -> None:
        async def run() -> None:
            async with online(**connection) as client:
                for other in sorted(await ask(client)):
                    click.echo(other)

        asyncio.run(run())

    return command


def _example(name: str, whom: str = "") -> str:
    return f"\n\n\b\nExample:\n  messenger {name} --as alice{whom}"


commands = {name: _decision(name, *how) for name, how in _DECISIONS.items()}
commands |= {name: _list(name, *how) for name, how in _LISTS.items()}
