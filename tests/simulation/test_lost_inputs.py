"""A leader of the input comes back without what was acknowledged: nothing is folded behind what is
not there, and nothing that was shown gets another number."""

import random

import pytest

from simulation import history
from simulation.history import Step
from tests.simulation.mutations.openings import CALM, sends

_HISTORIES = 12


@pytest.mark.timeout(600)
def test_histories_in_which_acknowledged_inputs_are_lost() -> None:
    kinds = history.weights(
        **{**CALM, "cut_log": 0, "lose_acknowledged": 6, "send": 30, "burst": 10, "kill_gateway": 6}
    )
    for seed in range(_HISTORIES):
        name = f"lost inputs {seed}"
        chance = random.Random(name)
        opening = [
            *sends(chance, 8),
            Step(chance.choice((0.0, 0.01, 0.1, 1.5)), "lose acknowledged", 0, seed),
            Step(0.0, "burst", chance.randrange(6), chance.randrange(1000)),
        ]
        played = history.play(name, [*opening, *history.make(name, kinds, 40)])
        assert not played.wrong, f"{name}: {played.wrong[0]}"
