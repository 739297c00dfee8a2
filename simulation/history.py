"""Histories: seeded lists of timed steps, played in a world, and made shorter when they fail."""

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TextIO

from simulation.faults import ACCIDENTS, ACTIONS, PEOPLE
from simulation.world import Shape, World

WAITS = (0.0, 0.003, 0.03, 0.3, 2.0, 10.0)
_WAIT_WEIGHTS = (3, 3, 4, 5, 3, 1)
_LOOK_EVERY = 10
_FIRST_SECONDS = 3.0
"""Until everybody is there."""
Weights = Mapping[str, int]


class Step(NamedTuple):
    """`wait` seconds, then do what `kind` names (simulation/faults.py)."""

    wait: float
    kind: str
    place: int
    number: int

    def __str__(self) -> str:
        return f"{self.wait:6.3f} {self.kind} {self.place} {self.number}"


class Played(NamedTuple):
    """What came of a history. `device_seconds` were simulated."""

    wrong: Sequence[str]
    seconds: float
    device_seconds: float


def weights(**changed: int) -> dict[str, int]:
    """How often each kind of step comes; `changed` by name, with _ for spaces."""
    usual = {name: often for name, (often, _) in [*PEOPLE.items(), *ACCIDENTS.items()]}
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
    tracing = _Tracing(world, trace) if trace is not None else None
    wrong: Sequence[str]
    try:
        wrong = _play(world, steps, tracing.step if tracing else lambda step: None)
    except Exception as error:
        wrong = [f"the simulation failed: {error!r}"]
        logging.getLogger(__name__).debug("a history failed", exc_info=True)
    finally:
        if tracing is not None:
            tracing.close()
        seconds = world.loop.time()
        devices = len(world.people.apps)
        world.close()
    return Played(wrong, seconds, seconds * devices)


def _play(world: World, steps: Sequence[Step], trace: Callable[[object], None]) -> list[str]:
    world.advance(_FIRST_SECONDS)
    for number, step in enumerate(steps):
        world.advance(step.wait)
        trace(step)
        world.loop.do(ACTIONS[step.kind], world, step.place, step.number)
        if number % _LOOK_EVERY == 0 and world.judge.look():
            return list(world.judge.faults)
    wrong = world.rest()
    if not wrong:
        trace("all come back")
        world.loop.do(world.people.all_come_back)
        wrong = world.rest()
    return wrong or world.complaints


class _Tracing(logging.Handler):
    """Writes what is logged, with its time and its process, and what is done."""

    def __init__(self, world: World, file: TextIO) -> None:
        super().__init__(logging.INFO)
        self._world = world
        self._file = file
        root = logging.getLogger()
        self._level = root.level
        root.setLevel(logging.INFO)
        root.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.step(f"{record.levelname} {record.name}: {record.getMessage()}")

    def step(self, what: object) -> None:
        process = self._world.running()
        self._file.write(f"{self._world.loop.time():10.4f} {process:12} {what}\n")

    def close(self) -> None:
        root = logging.getLogger()
        root.removeHandler(self)
        root.setLevel(self._level)
        super().close()


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
