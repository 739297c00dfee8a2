"""What users have decided about each other, as the judge sees it: who sees what."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from schemas.codec import EVERYBODY
from schemas.events import PersonState, PresenceShown
from schemas.topics import PEOPLE

if TYPE_CHECKING:
    from simulation.people import App

Stances = Mapping[tuple[str, str], PersonState]
"""(who decides, about whom) → what, by `people`."""


def asks(stances: Stances, user: str, other: str) -> bool:
    """Whether `other` has sent `user` a request that is not accepted."""
    state = stances.get((user, other))
    return state is not None and state.request != b""


def takes_nothing(stances: Stances, user: str, other: str) -> bool:
    """Whether `user` takes no message of `other`."""
    state = stances.get((user, other))
    return state is not None and (state.blocked or state.request != b"")


def hides_reads(stances: Stances, user: str, other: str) -> bool:
    everybody = stances.get((user, EVERYBODY))
    hidden = everybody is not None and everybody.hides_reads
    return hidden or takes_nothing(stances, user, other)


def hides_presence(stances: Stances, user: str, other: str) -> bool:
    everybody, state = stances.get((user, EVERYBODY)), stances.get((user, other))
    shown = everybody.presence if everybody is not None else PresenceShown.EVERYONE
    contact = state is not None and state.contact
    hidden = shown == PresenceShown.NOBODY or (shown == PresenceShown.CONTACTS and not contact)
    return hidden or takes_nothing(stances, user, other)


def differences(app: "App", stances: Stances) -> Iterator[str]:
    """Where an app does not show what its user has decided."""
    assert app.client is not None
    device = app.client.device
    mine = {other: state for (user, other), state in stances.items() if user == app.user}
    everybody = mine.pop(EVERYBODY, None)
    for what, shows, true in (
        ("has blocked", device.blocked, {one for one, state in mine.items() if state.blocked}),
        ("has as contacts", device.contacts, {one for one, state in mine.items() if state.contact}),
        ("is asked by", device.requests, {one for one, state in mine.items() if state.asks}),
    ):
        if shows != true:
            yield (
                f"{app.label} shows that {app.user} {what} {sorted(shows)}; by {PEOPLE} it is"
                f" {sorted(true)}"
            )
    shown = PresenceShown.EVERYONE if everybody is None else PresenceShown(everybody.presence)
    privacy = shown.name.lower(), everybody is None or not everybody.hides_reads
    if tuple(device.privacy) != privacy:
        yield f"{app.label} shows the privacy {tuple(device.privacy)}; by {PEOPLE} it is {privacy}"
