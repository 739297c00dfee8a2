"""What people do with their apps, and what becomes of those."""

from collections.abc import Callable, Sequence
from typing import Literal

from schemas.codec import encode_frame
from schemas.frames import Read, Shown
from simulation.faults.common import Action, Actions, an_app, for_a_while, pause, pick
from simulation.people import App
from simulation.world import World

MAX_APPS = 14
_BURST = 6
_PRIVACY: Sequence[tuple[Shown, bool]] = (
    *(("everyone", True), ("everyone", False), ("contacts", True), ("nobody", False)),
)


def _app_does(what: Callable[[App], None]) -> Action:
    def action(world: World, place: int, number: int) -> str:
        app = an_app(world, place)
        what(app)
        return app.label

    return action


def _others(world: World, app: App) -> list[str]:
    return [user for user in world.people.users if user != app.user]


def _other(world: World, app: App, number: int) -> str:
    return pick(_others(world, app), number)


def send(world: World, place: int, number: int) -> str:
    app = an_app(world, place)
    to = pick([*_others(world, app), *world.shape.away], number)
    app.send(to, world.people.new_body())
    return f"{app.label} to {to}"


def burst(world: World, place: int, number: int) -> str:
    count = 2 + number % _BURST
    for _ in range(count):
        whom = send(world, place, number)
    return f"{whom}, {count} messages"


def edit(world: World, place: int, number: int) -> str:
    app = an_app(world, place)
    app.change(number, world.people.new_body())
    return app.label


def delete(world: World, place: int, number: int) -> str:
    app = an_app(world, place)
    app.change(number, "")
    return app.label


def write(world: World, place: int, number: int) -> str:
    app = an_app(world, place)
    to = _other(world, app, number)
    app.type(to)
    return f"{app.label} to {to}"


def look_around(world: World, place: int, number: int) -> str:
    for app in world.people.here:
        app.watch()
    return "everybody"


def go_offline(world: World, place: int, number: int) -> str:
    app = an_app(world, place)
    if not app.running:
        return f"{app.label}, which is closed"
    dialer = app.dialer
    dialer.connected = False
    (app.lose_network if number % 2 else app.reset)()
    lasts = for_a_while(world, number // 2, lambda: setattr(dialer, "connected", True))
    return f"{app.label} {lasts}"


def sleep_app(world: World, place: int, number: int) -> str:
    """The phone puts the app to sleep."""
    app = an_app(world, place)
    if not app.running:
        return f"{app.label}, which is closed"
    return pause(world, app.process, app.label, number)


def _decide(kind: Literal["blocked", "contact"], is_: bool) -> Action:
    def action(world: World, place: int, number: int) -> str:
        app = an_app(world, place)
        other = _other(world, app, number)
        app.decide(other, kind, is_)
        return f"{app.label}: {other}"

    return action


def decline(world: World, place: int, number: int) -> str:
    app = an_app(world, place)
    return f"{app.label}: {app.decline(number)}"


def set_privacy(world: World, place: int, number: int) -> str:
    app = an_app(world, place)
    presence, reads = _PRIVACY[number % len(_PRIVACY)]
    app.set_privacy(presence, reads)
    return f"{app.label}: {presence}, reads {reads}"


def claim(world: World, place: int, number: int) -> str:
    """An app that is not ours says that it has read what nobody has written."""
    app = an_app(world, place)
    to = _other(world, app, number)
    frame = encode_frame(Read(":".join(sorted((app.user, to))), 1))
    for wire in list(world.network.wires):
        if wire.device is app.process:
            app.process.start(wire.send(frame))
    return f"{app.label} of {to}"


def install(world: World, place: int, number: int) -> str:
    if len(world.people.apps) >= MAX_APPS:
        return "nobody: there are enough"
    user = pick(world.people.users, place)
    app = world.people.install(user, f"new{len(world.people.apps)}", keeps=number % 2 == 0)
    return app.label


PEOPLE: Actions = {
    "send": (12, send),
    "burst": (3, burst),
    "edit": (3, edit),
    "delete": (1, delete),
    "read": (5, _app_does(App.read)),
    "write": (1, write),
    "look around": (3, look_around),
    "lose network": (2, _app_does(App.lose_network)),
    "reset": (2, _app_does(App.reset)),
    "go offline": (2, go_offline),
    "close app": (2, _app_does(App.close)),
    "kill app": (2, _app_does(App.kill)),
    "sleep app": (1, sleep_app),
    "open app": (5, _app_does(App.start)),
    "install": (1, install),
    "claim": (0, claim),
    "block": (1, _decide("blocked", True)),
    "unblock": (1, _decide("blocked", False)),
    "add contact": (1, _decide("contact", True)),
    "remove contact": (1, _decide("contact", False)),
    "decline": (1, decline),
    "set privacy": (1, set_privacy),
}
