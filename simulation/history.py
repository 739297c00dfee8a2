"""Histories: seeded lists of timed steps, played in a world, and made shorter when they fail."""

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TextIO

from simulation.faults import ACTIONS, ALL
from simulation.trace import Trace
from simulation.world import Shape, World

WAITS = (0.0, 0.003, 0.03, 0.3, 2.0, 10.0)
_WAIT_WEIGHTS = (3, 3, 4, 5, 3, 1)
_LOOK_EVERY = 10
_FIRST_SECONDS = 3.0
"""Until everybody is there."""
Weights = Mapping[str, int]


class Step(NamedTuple):
    """`wait` seconds, then do what `kind` names (simulation/faults)."""

    wait: float
    kind: str
    place: int
    number: int

    def __str__(self) -> str:
        return f"{self.wait:6.3f} {self.kind} {self.place} {self.number}"


class Played(NamedTuple):
    """What came of a history. `device_seconds` were simulated. `done`: each step that was taken,
    and whom it concerned."""

    wrong: Sequence[str]
    seconds: float
    device_seconds: float
    done: Sequence[str] = ()


def weights(**changed: int) -> dict[str, int]:
    """How often each kind of step comes; `changed` by name, with _ for spaces."""
    usual = {name: often for name, (often, _) in ALL.items()}
    return {**usual, **{name.replace("_", " "): often for name, often in changed.items()}}


def make(seed: object, kinds: Weights, most: int = 60) -> list[Step]:
    """A history of up to `most` steps."""
    chance = random.Random(f"{seed} history")
    names, often = list(kinds), list(kinds.values())
    return [
        Step(
            chance.choices(WAITS, _WAIT_WEIGHTS)[0],
            chance.choices(names, often)[0],
            chance.randrange(1000),
            chance.randrange(1000),
        )
        for _ in range(chance.randint(5, most))
    ]


def play(
    seed: object,
    steps: Sequence[Step],
    shape: Shape = Shape(),  # noqa: B008 (it is a value)
    trace: TextIO | None = None,
) -> Played:
    """Play a history in a world of this seed, and judge it."""
    world = World(seed, shape)
    tracing = Trace(world, trace) if trace is not None else None
    wrong: Sequence[str]
    done: list[str] = []
    try:
        wrong = _play(world, steps, done, tracing)
    except Exception as error:
        wrong = [f"the simulation failed: {error!r}"]
        logging.getLogger(__name__).debug("a history failed", exc_info=True)
    finally:
        if tracing is not None:
            for what in wrong:
                tracing.write(f"wrong: {what}")
            tracing.close()
        seconds = world.loop.time()
        devices = len(world.people.apps)
        world.close()
    return Played(wrong, seconds, seconds * devices, done)


def _play(
    world: World, steps: Sequence[Step], done: list[str], trace: Trace | None
) -> Sequence[str]:
    world.advance(_FIRST_SECONDS)
    for number, step in enumerate(steps):
        world.advance(step.wait)
        if trace is not None:
            trace.begin_step()
        whom = world.loop.do(ACTIONS[step.kind], world, step.place, step.number)
        done.append(f"{step} → {whom}")
        if trace is not None:
            trace.end_step(f"step {number + 1}: {step.kind} {step.place} {step.number} → {whom}")
        if number % _LOOK_EVERY == 0 and world.judge.look():
            return list(world.judge.faults)
    wrong = world.rest()
    if not wrong:
        if trace is not None:
            trace.write("all come back")
        world.loop.do(world.people.all_come_back)
        wrong = world.rest()
    if not wrong and world.judge.stances():
        world.loop.do(world.people.knock)
        wrong = world.rest()
    if not wrong:
        world.loop.do(world.people.open_all)
        wrong = world.rest()
    return wrong or world.complaints


def shorten(
    steps: Sequence[Step],
    fails: Callable[[Sequence[Step]], bool],
    tries: int = 200,
) -> list[Step]:
    """A shorter history that `fails`, too: pieces are left out as long as it does."""
    kept = list(steps)
    size = max(1, len(kept) // 2)
    while tries > 0:
        start = 0
        removed = False
        while start < len(kept) and tries > 0:
            shorter = kept[:start] + kept[start + size :]
            tries -= 1
            if fails(shorter):
                kept, removed = shorter, True
            else:
                start += size
        if size == 1 and not removed:
            break
        size = max(1, size // 2)
    return kept
