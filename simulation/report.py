"""Many histories one after the other, and what is said of them."""

import io
import time
from collections.abc import Callable
from typing import NamedTuple, TextIO

from simulation import history
from simulation.history import Played, Step
from simulation.world import Shape


class Failure(NamedTuple):
    """A history that went wrong, and the shortest found that does, too."""

    seed: int
    wrong: list[str]
    steps: list[Step]
    done: list[str]
    """The steps, each with whom it concerned."""
    trace: str
    """Of the short one."""

    def text(self) -> str:
        """For a person: what is wrong, and what led to it."""
        lines = [f"seed {self.seed}:", *(f"  {what}" for what in self.wrong)]
        lines += [f"after {len(self.steps)} steps (seconds before each, what, two numbers → whom):"]
        return "\n".join([*lines, *(f"  {step}" for step in self.done)])


class Report(NamedTuple):
    """What was simulated, in virtual seconds, and the CPU seconds that it took."""

    histories: int
    seconds: float
    device_seconds: float
    cpu_seconds: float
    failure: Failure | None

    def text(self) -> str:
        minutes = max(self.cpu_seconds, 1e-9) / 60
        return (
            f"{self.histories} histories, {self.seconds / 3600:.2f} h, "
            f"{self.device_seconds / 3600:.1f} device-hours in {self.cpu_seconds:.1f} s of CPU: "
            f"{self.histories / minutes:.0f} histories and "
            f"{self.device_seconds / 3600 / minutes:.0f} device-hours per CPU-minute"
        )


_ASKING = 8
"""In one of so many histories strangers must ask."""


def shape_of(seed: int) -> Shape:
    """The system that a seed's history is played on."""
    return Shape(policy="requests" if seed % _ASKING == _ASKING - 1 else "everyone")


def run(
    first_seed: int,
    hours: float,
    kinds: history.Weights | None = None,
    most_steps: int = 60,
    trace: TextIO | None = None,
    progress: Callable[[int], None] = lambda seed: None,
) -> Report:
    """Play the histories of `first_seed`, the next seed …, until `hours` of virtual time have
    passed or one fails; at least one is played. Each history's trace is written to `trace`."""
    kinds = history.weights() if kinds is None else kinds
    began, seconds, device_seconds, seed = time.process_time(), 0.0, 0.0, first_seed
    while True:
        progress(seed)
        steps = history.make(seed, kinds, most_steps)
        if trace is not None:
            trace.write(f"seed {seed}\n")
        played = history.play(seed, steps, shape_of(seed), trace)
        seconds += played.seconds
        device_seconds += played.device_seconds
        seed += 1
        failure = _failure(seed - 1, steps, played) if played.wrong else None
        if failure is not None or seconds >= hours * 3600:
            cpu = time.process_time() - began
            return Report(seed - first_seed, seconds, device_seconds, cpu, failure)


def _failure(seed: int, steps: list[Step], played: Played) -> Failure:
    shape = shape_of(seed)
    short = history.shorten(steps, lambda some: bool(history.play(seed, some, shape).wrong))
    trace = io.StringIO()
    again = history.play(seed, short, shape, trace)
    done = [*again.done, *map(str, short[len(again.done) :])]
    return Failure(seed, list(again.wrong or played.wrong)[:10], short, done, trace.getvalue())
