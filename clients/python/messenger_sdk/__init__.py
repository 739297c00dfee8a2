"""Python client of the messenger: `async with Client(url, token, device) as client: await
client.send("bob", "hi")`."""

from messenger_sdk.client import Client
from messenger_sdk.errors import (
    ClientClosed,
    ConnectionRefused,
    FolderInUse,
    FolderOfAnother,
    FolderUnreadable,
    HistoryRefused,
    MessengerError,
    OutboxFull,
    SendRefused,
    SendUnknown,
)
from messenger_sdk.events import (
    Event,
    HistoryPage,
    MarksChanged,
    MessageReceived,
    PresenceChanged,
    SendFailed,
    StateChanged,
    Typing,
)
from messenger_sdk.outbox import SavedSend, SentMessage

__all__ = [
    "Client",
    "ClientClosed",
    "ConnectionRefused",
    "Event",
    "HistoryPage",
    "HistoryRefused",
    "MarksChanged",
    "MessageReceived",
    "MessengerError",
    "OutboxFull",
    "FolderInUse",
    "FolderOfAnother",
    "FolderUnreadable",
    "PresenceChanged",
    "SavedSend",
    "SendFailed",
    "SendRefused",
    "SendUnknown",
    "SentMessage",
    "StateChanged",
    "Typing",
]
