"""Events that the application has not taken yet, in order. Pure.

The device bounds how many messages wait here. Of everything else only the newest counts: of a
user's marks in a conversation, of a user's presence, of a decision about a user, of a state. It
replaces the one before it.
"""

import itertools
from collections import OrderedDict

from messenger_sdk.events import (
    Event,
    MessageReceived,
    PersonChanged,
    PresenceChanged,
    PrivacyChanged,
    SendFailed,
    StateChanged,
)


class EventQueue:
    def __init__(self) -> None:
        self._events: OrderedDict[tuple[object, ...], Event] = OrderedDict()
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return len(self._events)

    def put(self, event: Event) -> None:
        about = self._about(event)
        self._events.pop(about, None)
        self._events[about] = event

    def pop(self) -> Event:
        """The oldest. Raises KeyError if there is none."""
        return self._events.popitem(last=False)[1]

    def _about(self, event: Event) -> tuple[object, ...]:
        """Of two events about the same, only the later is kept."""
        if isinstance(event, MessageReceived | SendFailed):
            return (next(self._numbers),)
        if isinstance(event, PresenceChanged | PersonChanged):
            return type(event), event.user
        if isinstance(event, PrivacyChanged):
            return (type(event),)
        if isinstance(event, StateChanged):
            return type(event), event.state
        return type(event), event.conversation, event.user
