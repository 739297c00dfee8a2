"""Each rule is needed: with the rule switched off, the simulation finds a fault."""

import os

import pytest

from tests.simulation.mutations import all_mutations
from tests.simulation.mutations.mutation import Mutation, find

THOROUGH = bool(os.environ.get("MESSENGER_SIMULATION_HOURS"))


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("mutation", all_mutations(), ids=lambda mutation: mutation.name)
def test_a_rule_that_is_switched_off_is_missed(mutation: Mutation) -> None:
    """`make test` tries those that are found soon; `make chaos` all."""
    if not mutation.soon and not THOROUGH:
        pytest.skip("takes many histories: in `make chaos`")
    assert find(mutation) is not None, f"{mutation.most} histories without it, and no fault"
