"""What the kinds of steps share: whom a number chooses, and what ends by itself."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from simulation.people import App
from simulation.process import Process
from simulation.processes import Part
from simulation.world import World

Action = Callable[[World, int, int], str]
Actions = Mapping[str, tuple[int, Action]]
"""name → (how often, what it does)."""

LONG = 0.5, 2.0, 5.0, 12.0
"""Seconds that what is away may stay away."""

One = TypeVar("One")


def pick(some: Sequence[One], number: int) -> One:
    return some[number % len(some)]


def an_app(world: World, place: int) -> App:
    return pick(world.people.apps, place)


def parts(world: World) -> list[Part]:
    """All gateways, then all workers."""
    return [*world.gateways, *world.workers]


def for_a_while(
    world: World, number: int, undo: Callable[[], None], lengths: Sequence[float] = LONG
) -> str:
    seconds = pick(lengths, number)
    world.loop.call_later(seconds, undo, context=world.context)
    return f"for {seconds:g} s"


def pause(world: World, process: Process, name: str, number: int) -> str:
    if not process.alive or process.paused:
        return f"{name}, which does not run"
    process.pause()
    return f"{name} {for_a_while(world, number, process.wake)}"
