"""One mutation, and how soon the simulation finds it."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

from simulation import history, world
from simulation.history import Step
from simulation.world import REST_SECONDS, Shape

Patch = tuple[Any, str, Any]
Opening = Callable[[random.Random], list[Step]]

_NONE = (
    *("cut_log", "write_ahead", "change_leader", "lose_broker", "lose_two_brokers"),
    *("block", "unblock", "add_contact", "remove_contact", "decline", "set_privacy"),
)
"""Steps that come only with the mutations that ask for them."""


class Mutation(NamedTuple):
    """`rule`, as docs/RULES.md numbers it, or the guard; `off`: what the mutated code does.
    `patches` are (object, attribute, value); `most` histories must be enough to find it. Each
    begins with `opening`, and goes on at random for up to `tail` steps (0 for none): `kinds` says
    how often each kind of step comes, where that is not as usual
    (simulation/history.py:weights)."""

    name: str
    rule: str
    off: str
    patches: list[Patch]
    kinds: dict[str, int]
    most: int = 60
    shape: Shape = Shape()
    opening: Opening = lambda chance: []
    tail: int = 40


def opened(
    name: str,
    rule: str,
    off: str,
    patches: list[Patch],
    opening: Opening,
    shape: Shape = Shape(),  # noqa: B008 (it is a value)
    most: int = 60,
) -> Mutation:
    """A mutation to which its opening leads by itself: nothing follows it."""
    return Mutation(name, rule, off, patches, {}, most, shape, opening, 0)


@contextmanager
def mutated(mutation: Mutation) -> Iterator[None]:
    """The production code is mutated."""
    patches = [patch.object(*one) for one in mutation.patches]
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in reversed(patches):
            one.stop()


def find(
    mutation: Mutation, first: int = 1, rest_seconds: float = REST_SECONDS
) -> tuple[int, str] | None:
    """The number of a history that goes wrong, and what is wrong; None if none of `most` does. It
    plays number `first`, then the others in their order. What has not drained `rest_seconds` after
    a history counts as wrong."""
    none = dict.fromkeys(_NONE, 0)
    kinds = history.weights(**{**none, **mutation.kinds})
    numbers = range(1, mutation.most + 1)
    with patch.object(world, "REST_SECONDS", rest_seconds):
        for number in sorted(numbers, key=lambda number: number != first):
            name = f"{mutation.name} {number - 1}"
            steps = [
                *mutation.opening(random.Random(f"{name} opening")),
                *(history.make(name, kinds, mutation.tail) if mutation.tail else ()),
            ]
            with mutated(mutation):
                played = history.play(name, steps, mutation.shape)
            if played.wrong:
                break
        else:
            return None
        # Not by the mutation alone, if the code as it is goes wrong, too.
        wrong = history.play(name, steps, mutation.shape).wrong
    if wrong and rest_seconds < REST_SECONDS:
        return find(mutation, first)
    assert not wrong, f"{name}: {wrong[0]}"
    return number, played.wrong[0]
