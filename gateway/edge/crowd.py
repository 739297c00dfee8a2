"""Connections that have said nothing yet, and which of them goes if there is no more room."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

_Member = TypeVar("_Member")

_MOST_ADDRESSES = 200
"""An attacker with more addresses can come from all of them alike: then the oldest connection goes,
whatever its address."""


class Crowd(Generic[_Member]):
    """Each has come from an address, empty if that is not known. `clock` is in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._came: OrderedDict[_Member, tuple[str, float]] = OrderedDict()
        self._by_address: dict[str, OrderedDict[_Member, None]] = {}

    def __len__(self) -> int:
        return len(self._came)

    def add(self, member: _Member, address: str) -> None:
        self._came[member] = address, self._clock()
        self._by_address.setdefault(address, OrderedDict())[member] = None

    def remove(self, member: _Member) -> None:
        """It has spoken, or has gone. It need not be there any more."""
        came = self._came.pop(member, None)
        if came is not None:
            address, _ = came
            members = self._by_address[address]
            del members[member]
            if not members:
                del self._by_address[address]

    def pop(self, seconds: float = 0.0) -> _Member | None:
        """Remove the oldest one of the address that has the most; None if it has not been here for
        `seconds`."""
        if not self._came:
            return None
        if len(self._by_address) > _MOST_ADDRESSES:
            member = next(iter(self._came))
        else:
            largest = max(self._by_address, key=lambda one: len(self._by_address[one]))
            member = next(iter(self._by_address[largest]))
        if self._clock() - self._came[member][1] < seconds:
            return None
        self.remove(member)
        return member
