"""Prints a line, or runs a command, for each message that comes.

export MESSENGER_TOKEN=$(messenger token bob)
python notifier.py http://127.0.0.1:8400 --run "notify-send --"
"""

import argparse
import asyncio
import os
import shlex

from messenger_sdk import Client, MessageReceived

TOKEN = os.environ.get("MESSENGER_TOKEN")


def line(text: str) -> str:
    """Text of somebody else for a terminal: in one line, without what could steer it."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


async def run(url: str, token: str, command: list[str]) -> None:
    async with Client(url, token, "notifier") as client:
        async for event in client:
            if not isinstance(event, MessageReceived) or event.sender == client.user:
                continue
            if event.changes:
                continue
            if command:
                # arguments, not a line for a shell: the text comes from others
                told = await asyncio.create_subprocess_exec(*command, event.sender, event.body)
                await told.wait()
            else:
                print(f"{event.sender}: {line(event.body)}", flush=True)
        await client.online()  # raises what has ended the client


def main() -> None:
    parser = argparse.ArgumentParser(description="Tells of each message that comes.")
    parser.add_argument("url", help="a gateway, as http://127.0.0.1:8400")
    parser.add_argument("--token", default=TOKEN, required=not TOKEN, help="of the user")
    parser.add_argument("--run", default="", help="a command; it gets sender and text behind it")
    asked = parser.parse_args()
    asyncio.run(run(asked.url, asked.token, shlex.split(asked.run)))


if __name__ == "__main__":
    main()
