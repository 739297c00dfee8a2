"""Answers each message with its own text.

MESSENGER_TOKEN=$(messenger token echo) python echo_bot.py http://127.0.0.1:8400 --folder echo
"""

import argparse
import asyncio
import os
from pathlib import Path

from messenger_sdk import Client, MessageReceived

TOKEN = os.environ.get("MESSENGER_TOKEN")


async def run(url: str, token: str, folder: Path | None) -> None:
    async with Client(url, token, "echo-bot", folder=folder) as client:
        async for event in client:
            if not isinstance(event, MessageReceived) or event.sender == client.user:
                continue
            if event.body and not event.changes:
                client.submit(event.sender, event.body)
                await client.saved()  # before the message counts as shown: a kill loses no answer
            client.read(event.conversation, event.seq)
        await client.online()  # raises what has ended the client


def main() -> None:
    parser = argparse.ArgumentParser(description="Answers each message with its own text.")
    parser.add_argument("url", help="a gateway, as http://127.0.0.1:8400")
    parser.add_argument("--token", default=TOKEN, required=not TOKEN, help="of the bot")
    parser.add_argument("--folder", type=Path, help="keeps what was not answered over a restart")
    asked = parser.parse_args()
    asyncio.run(run(asked.url, asked.token, asked.folder))


if __name__ == "__main__":
    main()
