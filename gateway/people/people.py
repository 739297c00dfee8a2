"""The parts of a node that deal with what users have decided about each other."""

from gateway.people.lists import PeopleLists
from gateway.people.mark_filter import MarkFilter
from gateway.people.send_gate import SendGate
from gateway.people.stances import Stances
from gateway.presence.subscriptions import PresenceSubscriptions
from gateway.registry import ConnectionRegistry
from schemas.events import PersonDelivered


class People:
    """They stand beside each other."""

    def __init__(
        self,
        stances: Stances,
        sends: SendGate,
        marks: MarkFilter,
        lists: PeopleLists,
        registry: ConnectionRegistry,
        subscriptions: PresenceSubscriptions,
    ) -> None:
        self.stances = stances
        self.sends = sends
        self.marks = marks
        self.lists = lists
        self._registry = registry
        self.subscriptions = subscriptions

    def changed(self, event: PersonDelivered) -> None:
        """A user has decided something. Their devices show the decision, and it counts here for the
        other user from now on."""
        self._registry.push(event.user, event.frame)
        self.stances.forget(event.other, {event.user})
        self.subscriptions.changed(event.user, event.other)
