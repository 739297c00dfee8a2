"""Slots that are left behind soon: their devices show everything in the end."""

import random
from unittest.mock import patch

import pytest

import streams.steps
from simulation import history
from streams.steps import Steps
from tests.simulation.mutations.slots import slot_away_while_people_talk

_HISTORIES = 12


@pytest.mark.timeout(600)
def test_histories_in_which_slots_are_left_behind_soon() -> None:
    kinds = history.weights(send=25, burst=10, read=15, kill_worker=6)
    left = 0
    leave_behind = Steps.leave_behind

    def counted(steps: Steps, slot: int) -> None:
        nonlocal left
        left += 1
        leave_behind(steps, slot)

    with (
        patch.object(streams.steps, "MAX_UNDER_WAY", 1),
        patch.object(Steps, "leave_behind", counted),
    ):
        for seed in range(_HISTORIES):
            name = f"left behind {seed}"
            opening = slot_away_while_people_talk(random.Random(name))
            played = history.play(name, [*opening, *history.make(name, kinds, 40)])
            assert not played.wrong, f"{name}: {played.wrong[0]}"
    assert left >= _HISTORIES
