"""Sends each line of its input to one user, and prints what they answer.

tail -f log | MESSENGER_TOKEN=$(messenger token logs) python bridge.py http://127.0.0.1:8400 bob
"""

import argparse
import asyncio
import os
import sys

from messenger_sdk import Client, MessageReceived

TOKEN = os.environ.get("MESSENGER_TOKEN")


def line(text: str) -> str:
    """Text of somebody else for a terminal: in one line, without what could steer it."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


async def show(client: Client, peer: str) -> None:
    async for event in client:
        if isinstance(event, MessageReceived) and event.sender == peer and not event.changes:
            print(line(event.body), flush=True)
            client.read(event.conversation, event.seq)


async def run(url: str, token: str, peer: str) -> None:
    async with Client(url, token, "bridge") as client:
        showing = asyncio.create_task(show(client, peer))
        while text := await asyncio.to_thread(sys.stdin.readline):
            if text.strip():
                # one after the other: the input waits while the network is away
                await client.send(peer, text.rstrip("\n"))
        await client.close()
        await showing


def main() -> None:
    parser = argparse.ArgumentParser(description="Connects its input and output with a user.")
    parser.add_argument("url", help="a gateway, as http://127.0.0.1:8400")
    parser.add_argument("peer", help="to whom the lines go")
    parser.add_argument("--token", default=TOKEN, required=not TOKEN, help="of the sender")
    asked = parser.parse_args()
    asyncio.run(run(asked.url, asked.token, asked.peer))


if __name__ == "__main__":
    main()
