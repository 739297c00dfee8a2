"""What apps show, against what the topics say."""

from collections.abc import Iterator, Sequence, Set
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

from schemas.ids import members_of_valid
from schemas.topics import PEOPLE, RECEIPTS
from simulation.shown import Shown

if TYPE_CHECKING:
    from simulation.people import App
    from simulation.world import World


class Truth(NamedTuple):
    """What the topics say. `messages`: of each conversation, each as its last change says.
    `marks`: (conversation, user) → the highest (received, read) that gateways have taken.
    `stances`: (who decides, about whom) → whether they are blocked. `tried`: who has ever tried to
    block, and whom."""

    messages: dict[str, list[Shown]]
    marks: dict[tuple[str, str], tuple[int, int]]
    stances: dict[tuple[str, str], bool]
    tried: Set[tuple[str, str]]


def deviations(app: "App", truth: Truth) -> Iterator[str]:
    """What an app shows and the topics do not say, when nothing is left to do."""
    yield from _conversations(app, truth)
    yield from _decisions(app, truth)


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
        if (mark.received, mark.read) != true and (other, app.user) not in truth.tried:
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


def _decisions(app: "App", truth: Truth) -> Iterator[str]:
    """What was decided, and what an app may see of who has blocked its user."""
    assert app.client is not None
    marks, stances = truth.marks, truth.stances
    device = app.client.device
    blocked = {other for (user, other), is_ in stances.items() if is_ and user == app.user}
    if device.blocked != blocked:
        yield (
            f"{app.label} shows that {app.user} has blocked {sorted(device.blocked)}; by"
            f" {PEOPLE} it is {sorted(blocked)}"
        )
    for (user, other), is_ in stances.items():
        name = ":".join(sorted((user, other)))
        if other != app.user or name not in truth.messages:
            continue
        read, may_show = device.mark(name, user).read, marks.get((name, user), (0, 0))[1]
        if app.name == "last":  # it came when all had been quiet for a while
            if read != (0 if is_ else may_show):
                yield (
                    f"{app.label} shows that {user}, who has{'' if is_ else ' not'} blocked"
                    f" {other}, has read {name} {read} of {may_show}"
                )
        elif read > may_show:
            yield f"{app.label} shows that {user} has read {name} {read}, not {may_show}"


def presence_deviations(world: "World", stances: dict[tuple[str, str], bool]) -> Iterator[str]:
    """Who is there, as all apps show it."""
    online = world.people.online()
    last_seen: dict[str, int] = {}
    for app in world.people.here:
        assert app.client is not None
        for user in app.client.device.watched:
            known = app.client.device.presence.get(user)
            if known is not None and stances.get((user, app.user)):
                if known.online or known.last_seen:
                    yield f"{app.label} sees the presence of {user}, who has blocked them"
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
