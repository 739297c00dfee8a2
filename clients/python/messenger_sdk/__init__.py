"""Python client of the messenger; clients/python/README.md shows how to use it.

`Client` is the asyncio client. `Device` is the same device without I/O, for other shells.
"""

from messenger_sdk.client import Client
from messenger_sdk.device import Device
from messenger_sdk.dialer import Closed, Dialer, Link
from messenger_sdk.errors import (
    ClientClosed,
    ConnectionRefused,
    DecisionRefused,
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
    PersonChanged,
    PresenceChanged,
    PrivacyChanged,
    SendFailed,
    StateChanged,
    Typing,
)
from messenger_sdk.folder_storage import FolderStorage
from messenger_sdk.outbox import SentMessage
from messenger_sdk.reconnecting import Gateways
from messenger_sdk.storage import MemoryStorage, SavedSend, Storage

__all__ = [
    "Client",
    "ClientClosed",
    "Closed",
    "ConnectionRefused",
    "DecisionRefused",
    "Device",
    "Dialer",
    "Event",
    "HistoryPage",
    "HistoryRefused",
    "MarksChanged",
    "MessageReceived",
    "MessengerError",
    "OutboxFull",
    "FolderInUse",
    "FolderOfAnother",
    "FolderStorage",
    "FolderUnreadable",
    "Gateways",
    "Link",
    "MemoryStorage",
    "PersonChanged",
    "PresenceChanged",
    "PrivacyChanged",
    "SavedSend",
    "SendFailed",
    "SendRefused",
    "SendUnknown",
    "SentMessage",
    "StateChanged",
    "Storage",
    "Typing",
]
