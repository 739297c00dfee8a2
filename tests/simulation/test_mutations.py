"""Each rule is needed: with the rule switched off, the simulation finds a fault."""

import pytest

from tests.simulation.mutations import all_mutations
from tests.simulation.mutations.mutation import Mutation, find
from tests.simulation.mutations.page import known

_KNOWN = known()


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("mutation", all_mutations(), ids=lambda mutation: mutation.name)
def test_a_rule_that_is_switched_off_is_missed(mutation: Mutation) -> None:
    """It begins with the history that has found it before."""
    found = find(mutation, _KNOWN.get(mutation.name, 1))
    assert found is not None, f"{mutation.most} histories without it, and no fault"
