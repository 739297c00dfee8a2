"""Gateways and workers end or stand still; workers lose their disks."""

from collections.abc import Callable, Sequence

from simulation.faults.common import Action, Actions, for_a_while, pause, pick
from simulation.processes import Part
from simulation.world import World


def _gateways(world: World) -> Sequence[Part]:
    return world.gateways


def _workers(world: World) -> Sequence[Part]:
    return world.workers


def _one_does(some: Callable[[World], Sequence[Part]], what: Callable[[Part], None]) -> Action:
    def action(world: World, place: int, number: int) -> str:
        part = pick(some(world), place)
        what(part)
        return part.name

    return action


def _one_stands_still(some: Callable[[World], Sequence[Part]]) -> Action:
    def action(world: World, place: int, number: int) -> str:
        part = pick(some(world), place)
        return pause(world, part.process, part.name, number)

    return action


def lose_disk(world: World, place: int, number: int) -> str:
    worker = pick(world.workers, place)
    worker.kill()
    worker.disk.lose()
    return worker.name


def fill_disk(world: World, place: int, number: int) -> str:
    worker = pick(world.workers, place)
    disk = worker.disk
    disk.full = True
    return f"{worker.name} {for_a_while(world, number, lambda: setattr(disk, 'full', False))}"


PROCESSES: Actions = {
    "kill gateway": (2, _one_does(_gateways, Part.kill)),
    "stop gateway": (1, _one_does(_gateways, Part.stop)),
    "pause gateway": (2, _one_stands_still(_gateways)),
    "kill worker": (3, _one_does(_workers, Part.kill)),
    "stop worker": (1, _one_does(_workers, Part.stop)),
    "pause worker": (3, _one_stands_still(_workers)),
    "lose disk": (1, lose_disk),
    "fill disk": (1, fill_disk),
}
