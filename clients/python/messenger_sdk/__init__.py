"""Python client of the messenger: `async with Client(url, token, device) as client: await client.send("bob", "hi")`."""

from messenger_sdk.client import Client, Event, MessageReceived, StateChanged
from messenger_sdk.errors import ClientClosed, ConnectionRefused, MessengerError, OutboxFull, SendRefused, SendUnknown
from messenger_sdk.outbox import SentMessage

__all__ = [
    "Client",
    "ClientClosed",
    "ConnectionRefused",
    "Event",
    "MessageReceived",
    "MessengerError",
    "OutboxFull",
    "SendRefused",
    "SendUnknown",
    "SentMessage",
    "StateChanged",
]
