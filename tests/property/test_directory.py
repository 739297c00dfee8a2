"""Who asks few workers hears as much as who asks them all: random histories of the model in
directory.py."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.property.directory import RULES, history
from tests.property.model import Fault


@given(st.integers(0, 2**63))
def test_nothing_is_left_out_of_an_answer(seed: int) -> None:
    history(random.Random(seed))


@pytest.mark.parametrize("rule_off", RULES)
def test_each_rule_is_needed(rule_off: str) -> None:
    """The model must find a fault when the rule is off, or it proves nothing."""
    for seed in range(20_000):
        try:
            history(random.Random(seed), rule_off)
        except Fault:
            return
    pytest.fail(f"20,000 histories without the rule, and no fault: {rule_off}")
