"""A device without a network that writes messages into its folder and then hangs until it is
killed."""

import asyncio
import sys
from pathlib import Path

from messenger_sdk import Client


async def main(path: str, to: str, count: int) -> None:
    client = Client("http://127.0.0.1:1", "no token is needed to write", "phone", folder=Path(path))
    async with client:
        for number in range(1, count + 1):
            client.submit(to, f"written offline {number}")
        await client.saved()
        print("written", flush=True)
        await asyncio.sleep(3600)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
