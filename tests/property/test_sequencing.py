"""Any history folds to the same numbers, times and answers; the fold of the input is the fold of
the log."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.rules.fold import StateIncomplete
from tests.property.model import Devices, Fault, Input, fold_input, history

seeds = st.integers(min_value=0, max_value=2**63)


@given(seeds)
def test_any_history_comes_to_the_same(seed: int) -> None:
    history(random.Random(seed))


@given(seeds)
def test_cuts_and_evictions_change_nothing(seed: int) -> None:
    chance = random.Random(seed)
    devices = Devices(chance)
    records = [
        Input(n, 1000 + n * chance.randint(0, 3), devices.submit())
        for n in range(chance.randint(1, 40))
    ]
    results = []
    for limit in (0, 1, 1000):
        state, batches = fold_input(records, chance, limit)
        outcome = [
            [entry for batch in batches for entry in getattr(batch.outcome, name)]
            for name in ("taken", "answers", "dead")
        ]
        results.append((outcome, state.position, state.time, state.version))
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("rule", ["R2", "R3", "R5", "R6"])
def test_each_rule_is_needed(rule: str) -> None:
    """The model must find a fault when the rule is off, or it proves nothing."""
    for seed in range(3000):
        try:
            history(random.Random(seed), off=rule)
        except (Fault, StateIncomplete):
            return
    pytest.fail(f"3000 histories without {rule}, and no fault")
