"""What is asked fails: the archive, and the workers."""

from connectors.clickhouse.memory import Fate
from simulation.faults.common import Actions, for_a_while, pick
from simulation.world import World


def stop_archive(world: World, place: int, number: int) -> str:
    world.archive.away = "away"
    return for_a_while(world, number, lambda: setattr(world.archive, "away", None))


def fail_inserts(world: World, place: int, number: int) -> str:
    fates = Fate.LOST, Fate.HALF, Fate.UNHEARD
    coming = [pick(fates, number + turn) for turn in range(1 + place % 3)]
    world.archive.fates.extend(coming)
    return "the next: " + ", ".join(fate.name.lower() for fate in coming)


def cut_from_workers(world: World, place: int, number: int) -> str:
    """A gateway reaches no worker."""
    gateway = pick(world.gateways, place)
    transport = gateway.transport
    transport.connected = False
    lasts = for_a_while(world, number, lambda: setattr(transport, "connected", True))
    return f"{gateway.name} {lasts}"


ASKED: Actions = {
    "stop archive": (1, stop_archive),
    "fail inserts": (1, fail_inserts),
    "cut from workers": (1, cut_from_workers),
}
