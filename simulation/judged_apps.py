"""What apps show, against what the topics say."""

from collections.abc import Iterator, Sequence, Set
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

from schemas.codec import EVERYBODY
from schemas.ids import members_of_valid, peer_of
from schemas.topics import RECEIPTS
from simulation.shown import Shown
from simulation.stances import Stances, asks, differences, hides_presence, hides_reads

if TYPE_CHECKING:
    from simulation.people import App
    from simulation.world import World


class Truth(NamedTuple):
    """What the topics say. `messages`: of each conversation, each as its last change says.
    `marks`: (conversation, user) → the highest (received, read) that gateways have taken.
    `hides`: who has ever hidden marks, or tried to, from whom, or from EVERYBODY. `accepted`: who
    has ever had whom as a contact."""

    messages: dict[str, list[Shown]]
    marks: dict[tuple[str, str], tuple[int, int]]
    stances: Stances
    hides: Set[tuple[str, str]]
    accepted: Set[tuple[str, str]]


def deviations(app: "App", truth: Truth) -> Iterator[str]:
    """What an app shows and the topics do not say, when nothing is left to do."""
    yield from _conversations(app, truth)
    yield from _marks(app, truth)
    yield from differences(app, truth.stances)


def _conversations(app: "App", truth: Truth) -> Iterator[str]:
    assert app.client is not None
    marks = truth.marks
    device = app.client.device
    mine = {
        name: all_ for name, all_ in truth.messages.items() if app.user in members_of_valid(name)
    }
    for name in app.shown.keys() - mine.keys():
        yield f"{app.label} shows {name}, which is not its user's, or not in the log"
    for name, messages in mine.items():
        other = next(user for user in members_of_valid(name) if user != app.user)
        yield from _shown(app, name, messages)
        yield from _opened(app, name, messages)
        mark = device.mark(name, other)
        true = marks.get((name, other), (0, 0))
        may_hide = not truth.hides.isdisjoint([(other, app.user), (other, EVERYBODY)])
        if (mark.received, mark.read) != true and not may_hide:
            yield (
                f"{app.label} shows that {other} has received {name} {mark.received} and read"
                f" {mark.read}; by {RECEIPTS} it is {true[0]} and {true[1]}"
            )
        read = marks.get((name, app.user), (0, 0))[1]
        if device.unread(name) != len(messages) - read:
            yield (
                f"{app.label} shows {device.unread(name)} of {name} as unread; by {RECEIPTS}"
                f" {app.user} has read {read} of {len(messages)}"
            )
    for (name, is_read), seq in app.claims.items():
        if marks.get((name, app.user), (0, 0))[is_read] < seq:
            did = "read" if is_read else "received"
            yield f"{app.label} has {did} {name} {seq}; {RECEIPTS} does not have it"


def _marks(app: "App", truth: Truth) -> Iterator[str]:
    """What an app may see of the marks of others."""
    assert app.client is not None
    for name in truth.messages:
        if app.user not in members_of_valid(name):
            continue
        other = peer_of(name, app.user)
        mark = app.client.device.mark(name, other)
        received, read = truth.marks.get((name, other), (0, 0))
        if asks(truth.stances, other, app.user):
            may_see = 0, 0
        elif hides_reads(truth.stances, other, app.user):
            may_see = received, 0
        else:
            may_see = received, read
        # "last" came when all had been quiet for a while; a contact who was removed may have asked
        # again since, and "last" keeps the marks that it saw before
        is_quiet = app.name == "last" and not (
            asks(truth.stances, other, app.user) and (other, app.user) in truth.accepted
        )
        if is_quiet and (mark.received, mark.read) != may_see:
            yield (
                f"{app.label} shows that {other} has received {name} {mark.received} and read"
                f" {mark.read}; it may see {may_see[0]} and {may_see[1]}"
            )
        elif mark.received > received or mark.read > read:
            yield (
                f"{app.label} shows that {other} has received {name} {mark.received} and read"
                f" {mark.read}, not {received} and {read}"
            )


def presence_deviations(world: "World", stances: Stances) -> Iterator[str]:
    """Who is there, as all apps show it."""
    online = world.people.online()
    last_seen: dict[str, int] = {}
    for app in world.people.here:
        assert app.client is not None
        for user in app.client.device.watched:
            known = app.client.device.presence.get(user)
            if known is not None and hides_presence(stances, user, app.user):
                if known.online or known.last_seen:
                    yield f"{app.label} sees the presence of {user}, who hides it from them"
            elif known is None:
                yield f"{app.label} does not know whether {user} is online"
            elif known.online != online[user]:
                shown, true = _online(known.online), _online(online[user])
                yield f"{app.label} shows {user} {shown}; {user} is {true}"
            elif not known.online and known.last_seen != last_seen.setdefault(
                user, known.last_seen
            ):
                others = _when(world, last_seen[user])
                yield (
                    f"{app.label} shows {user} last seen {_when(world, known.last_seen)};"
                    f" another device shows {others}"
                )


def contradictions(app: "App", messages: dict[str, list[Shown]]) -> Iterator[str]:
    """What an app shows otherwise than the log has it, and can never become right."""
    for name, shown in app.shown.items():
        logged = {message.seq: message for message in messages.get(name, ())}
        for one in shown:
            true = logged.get(one.seq, one)
            if (true[:3] != one[:3] or not one.version) and true != one:
                yield f"{app.label} shows {name} {one.seq} {one.body!r}; the log has {true}"


def _shown(app: "App", name: str, messages: Sequence[Shown]) -> Iterator[str]:
    shown = app.shown.get(name, [])
    first = shown[0].seq if shown else len(messages) + 1
    history = app.history.get(name, 0)
    if first - 1 > history:
        yield (
            f"{app.label} does not show {name} {_span(history + 1, first - 1)}, and that is no"
            " history from before its start"
        )
        return
    for is_, must in zip_longest(shown, messages[first - 1 :]):
        if is_ is None:
            yield f"{app.label} does not show {name} {_span(must.seq, len(messages))}"
        elif must is None:
            yield f"{app.label} shows {name} {is_.seq} {is_.body!r}; the log does not have it"
        elif is_ != must:
            yield (
                f"{app.label} shows {name} {is_.seq} {is_.body!r} of {is_.sender}; the log has"
                f" {must.seq} {must.body!r} of {must.sender}"
            )
        else:
            continue
        return


def _opened(app: "App", name: str, messages: Sequence[Shown]) -> Iterator[str]:
    """A conversation that was opened when nobody wrote any more."""
    known, shown = app.opened.get(name, (len(messages), messages))
    if known != len(messages):
        yield f"{app.label} opens {name}, and hears that its last seq is {known}"
    must = list(messages)[len(messages) - len(shown) :]
    if list(shown) != must or not shown:
        seqs = [one.seq for one in shown]
        yield f"{app.label} opens {name}, and sees {seqs} or not what the log has there"


def _span(first: int, last: int) -> str:
    return f"{first} to {last}" if first < last else str(first)


def _online(is_: bool) -> str:
    return "online" if is_ else "offline"


def _when(world: "World", ms: int) -> str:
    """A time in ms since 1970, as the trace writes it."""
    return f"at {(ms - world.now()) / 1000 + world.loop.time():.3f} s" if ms else "never"
