"""Whole systems through random histories: at the end every device shows what the log says.

MESSENGER_SIMULATION_HOURS sets how many virtual hours of fresh seeds are played. `make chaos` sets
it, and plays twice as many fixed seeds.
"""

import io
import os
import random
import re
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
from click.testing import CliRunner

from ops.cli import main
from simulation import history, report
from simulation.faults import ACTIONS
from simulation.history import Step
from simulation.world import World

FIXED_SEEDS = 80 if os.environ.get("MESSENGER_SIMULATION_HOURS") else 40
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


def test_a_contact_may_come_and_go_between_two_records_of_people() -> None:
    """Found by seed 496422000015: `people` never said that carol had bob as a contact."""
    steps = [
        Step(10.0, "burst", 806, 293),  # bob to carol
        Step(2.0, "send", 953, 59),  # carol to bob, whom she has as a contact from then on
        Step(0.0, "remove contact", 563, 749),  # carol: bob, at the same moment
        Step(10.0, "block", 230, 705),  # bob: carol
    ]
    seed = 496422000015
    assert history.play(seed, steps, report.shape_of(seed)).wrong == []


def test_whoever_begins_to_watch_a_user_is_told_what_that_one_has_just_decided() -> None:
    """Found by seed 7002000169: a send had asked what alice decided, just before she hid."""
    steps = [
        Step(0.003, "lose network", 864, 983),  # alice/phone
        Step(2.0, "lose leader", 157, 784),  # of messages/0, for 35 s
        Step(0.3, "set privacy", 666, 622),  # alice: for contacts only
        Step(0.03, "burst", 358, 30),  # carol to alice, whom she watches from then on
    ]
    seed = 7002000169
    assert history.play(seed, steps, report.shape_of(seed)).wrong == []


def _trace(seed: int) -> str:
    trace = io.StringIO()
    report.run(seed, 0, trace=trace)
    return trace.getvalue()


def test_the_command_plays_a_history(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    asked = ["simulate", "--seed", "7", "--steps", "5", "--trace", str(trace)]
    printed = CliRunner().invoke(main, asked)
    assert printed.exit_code == 0, printed.output
    assert "gateway-" in trace.read_text()


def test_a_seed_gives_the_same_history_to_the_byte() -> None:
    """Also in another process, where sets and hashes have another order, and which has played
    nothing before."""
    program = (
        "import sys; from tests.simulation.test_histories import _trace; "
        "sys.stdout.write('\\0'.join(map(_trace, (1, 2, 3))))"
    )
    other = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    for seed, trace in enumerate(other.stdout.split("\0"), 1):
        assert trace.count("\n") > 100
        assert trace == _trace(seed), f"seed {seed}"


def test_a_trace_shows_the_way_of_a_message_and_whom_a_step_concerns() -> None:
    trace = io.StringIO()
    steps = [Step(0.0, "send", 0, 0), Step(1.0, "kill worker", 1, 0)]
    played = history.play(1, steps, trace=trace)
    assert played.wrong == []
    assert [step.partition("→ ")[2] for step in played.done] == ["alice/phone to bob", "worker-1"]
    lines = iter(line.split(maxsplit=1)[1] for line in trace.getvalue().splitlines())
    way = [
        r"step 1: send 0 0 → alice/phone to bob",
        r"alice/phone +sends alice:bob ordinal 1 of outbox \w{4}, round 1",
        r"gateway-\d +messages.submitted/1 offset 0 holds alice:bob ordinal 1 of outbox",
        r"worker-\d +delivers to slot \d: alice:bob 1 for .*bob",
        r"worker-\d +appends messages/1: input 0 to 0; delivered up to -1",
        r"worker-\d +alice:bob 1 ← ordinal 1 of outbox \w{4}, input offset 0",
        r"\w+/\w+ +shows alice:bob 1",
        r"step 2: kill worker 1 0 → worker-1",
        r"worker-1 is killed",
        r"worker-1 starts",
    ]
    for wanted in way:  # in this order
        assert any(re.match(wanted, line) for line in lines), wanted


def test_a_trace_ends_with_what_is_wrong() -> None:
    def break_it(world: World, place: int, number: int) -> str:
        world.judge.found("a test says so")
        return "the test"

    trace = io.StringIO()
    with patch.dict(ACTIONS, {"break it": break_it}):
        history.play(1, [Step(0.5, "break it", 0, 0)], trace=trace)
    assert trace.getvalue().endswith(" wrong: a test says so\n")
    assert trace.getvalue().splitlines()[-1].split()[0] == "3.5000"


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
