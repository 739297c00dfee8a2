"""Each rule is needed: with the rule switched off, the simulation finds a fault."""

import os

import pytest

from simulation.world import REST_SECONDS
from tests.simulation.mutations import all_mutations
from tests.simulation.mutations.mutation import Mutation, find
from tests.simulation.mutations.page import known

THOROUGH = bool(os.environ.get("MESSENGER_SIMULATION_HOURS"))
_KNOWN, _FEW = known(), 60
_PATIENCE = REST_SECONDS if THOROUGH else REST_SECONDS / 5
"""Half of the mutations are found because something never drains, and to wait for that costs more
than the history."""


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("mutation", all_mutations(), ids=lambda mutation: mutation.name)
def test_a_rule_that_is_switched_off_is_missed(mutation: Mutation) -> None:
    """It begins with the history that has found it before. `make test` tries those for which a few
    histories are enough, and waits less for what does not drain; `make chaos` tries all."""
    if mutation.most > _FEW and not THOROUGH:
        pytest.skip("takes many histories: in `make chaos`")
    found = find(mutation, _KNOWN.get(mutation.name, 1), _PATIENCE)
    assert found is not None, f"{mutation.most} histories without it, and no fault"
