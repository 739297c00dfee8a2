"""Whole systems through random histories: at the end every device shows what the log says.

MESSENGER_SIMULATION_HOURS sets how many virtual hours of fresh seeds are played.
"""

import io
import os
import random
import subprocess
import sys

import pytest

from simulation import history, report
from simulation.history import Step

FIXED_SEEDS = 160
_CHUNK = 20
FRESH_HOURS = float(os.environ.get("MESSENGER_SIMULATION_HOURS", "1"))
_HIST_SEED = random.SystemRandom().randrange(10**6)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("first", range(0, FIXED_SEEDS, _CHUNK))
def test_histories_of_fixed_seeds(first: int) -> None:
    for seed in range(first, first + _CHUNK):
        found = report.run(seed, 0).failure
        assert found is None, found.text()


@pytest.mark.timeout(3600 + 60 * FRESH_HOURS)
def test_histories_of_fresh_seeds() -> None:
    found = report.run(_HIST_SEED * 10**6, FRESH_HOURS)
    print(found.text())
    assert found.failure is None, found.failure.text()


def _trace(seed: int) -> str:
    trace = io.StringIO()
    report.run(seed, 0, trace=trace)
    return trace.getvalue()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_seed_gives_the_same_history_to_the_byte(seed: int) -> None:
    """Also in another process, where sets and hashes have another order."""
    program = (
        "import sys; from tests.simulation.test_histories import _trace; "
        f"sys.stdout.write(_trace({seed}))"
    )
    other = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONHASHSEED": str(seed)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    trace = _trace(seed)
    assert trace.count("\n") > 100
    assert _trace(seed) == trace
    assert other.stdout == trace


def test_a_history_that_fails_is_made_shorter() -> None:
    steps = history.make(1, history.weights(), 60)
    kinds = sorted({step.kind for step in steps})[:2]

    def fails(some: object) -> bool:
        return {step.kind for step in some} >= set(kinds)  # type: ignore[attr-defined]

    short = history.shorten(steps, fails)
    assert sorted(step.kind for step in short) == kinds


def test_what_went_wrong_is_told_with_the_steps_that_lead_to_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def play(seed: object, steps: list[Step], *_: object, **__: object) -> history.Played:
        wrong = ["it is wrong"] if any(step.kind == "send" for step in steps) else []
        return history.Played(wrong, 60.0, 600.0)

    monkeypatch.setattr(history, "play", play)
    found = report.run(0, 1)
    assert found.failure is not None
    assert len(found.failure.steps) == 1
    assert "seed " in found.failure.text()
    assert "it is wrong" in found.failure.text()
    assert " send " in found.failure.text()
