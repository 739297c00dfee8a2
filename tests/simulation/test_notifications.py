"""Histories with a notifier and with somebody who never comes: the judge says who must have been
notified of what (simulation/notified.py)."""

import pytest

from simulation import history
from simulation.world import Shape
from tests.simulation.mutations.openings import STAGES

EVERYTHING = (*STAGES, "archiver", "notifier")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(3))
def test_who_is_away_throughout_is_notified_of_each_message_once(seed: int) -> None:
    name = f"notified {seed}"
    steps = history.make(name, history.weights(send=20, read=10), most=30)
    played = history.play(name, steps, Shape(workers=(EVERYTHING, EVERYTHING), away=("dave",)))
    assert played.wrong == []
