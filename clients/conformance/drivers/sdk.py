"""The Python SDK's driver for run_client.py."""

import asyncio
import json
import os
import sys
from typing import Any

from messenger_sdk import Client, MessageReceived, MessengerError, SendRefused, StateChanged


def say(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)


async def shown(client: Client) -> None:
    async for event in client:
        if isinstance(event, MessageReceived) and event.sender != client.user:
            say({"shown": event.seq, "from": event.sender, "body": event.body})
        elif isinstance(event, StateChanged) and event.state == "stopped":
            say({"stopped": event.code})


async def sent(client: Client, order: dict[str, Any]) -> None:
    try:
        say({"sent": (await client.send(order["send"], order["body"])).seq})
    except SendRefused as refused:
        say({"refused": refused.code})
    except MessengerError:
        pass  # the client has stopped, and says so by itself


async def main() -> None:
    url, token = os.environ["MESSENGER_URL"], os.environ["MESSENGER_TOKEN"]
    loop = asyncio.get_running_loop()
    async with Client(url, token, "phone") as client:
        working = [asyncio.create_task(shown(client))]
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            working.append(asyncio.create_task(sent(client, json.loads(line))))


asyncio.run(main())
