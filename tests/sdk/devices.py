"""What tests of the client share."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from messenger_sdk import Client, Dialer, MessageReceived
from messenger_sdk.events import Event
from schemas import frames

A, B, C = "alice:bob", "alice:carol", "alice:dave"


def client(
    gateway: Dialer, folder: Path | None = None, jitter: float = 0.1, **options: Any
) -> Client:
    """Alice's phone."""
    numbers = itertools.count(1)
    return Client(
        options.pop("url", "http://gateway"),
        options.pop("token", "token"),
        "phone",
        folder=folder,
        dialer=gateway,
        jitter=lambda: jitter,
        new_id=lambda: f"{next(numbers):032x}",
        **options,
    )


@asynccontextmanager
async def watched(device: Client) -> AsyncIterator[list[Event]]:
    """The client, open, and the events that its application has taken so far."""
    events: list[Event] = []

    async def watch() -> None:
        async for event in device:
            events.append(event)

    async with device:
        watching = asyncio.create_task(watch())
        yield events
        await device.close()
        await watching


def message(
    seq: int, body: str = "hi", sender: str = "bob", key: str = "00", conversation: str = A
) -> frames.Message:
    return frames.Message(conversation, seq, sender, key, 1000 + seq, body)


def page(asked: frames.History, known: int, *seqs: int) -> frames.Page:
    messages = [message(seq, conversation=asked.conversation) for seq in seqs]
    return frames.Page(asked.id, asked.conversation, known, messages)


def seqs(events: list[Event], conversation: str = A) -> list[int]:
    """The messages of a conversation, as they were shown."""
    return [
        event.seq
        for event in events
        if isinstance(event, MessageReceived) and event.conversation == conversation
    ]
