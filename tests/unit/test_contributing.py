"""The toy stage of CONTRIBUTING.md is right as it stands there: formatted, tested, and at home in
the simulation."""

import importlib
import inspect
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

import agents
from agents.builders import BUILDERS, WorkerPorts
from simulation import history
from simulation.world import Shape

ROOT = Path(__file__).resolve().parents[2]
_FILE = re.compile(
    r"`((?:agents/counts|tests/stages)/(?!__init__)\w+\.py)`(?:(?!```).)*?```python\n(.*?)\n *```",
    re.DOTALL,
)
"""A path, and the next code."""
FILES = (
    "agents/counts/partition.py",
    "agents/counts/stage.py",
    "tests/stages/test_counts_partition.py",
)


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the files of the page, `agents.counts` of which can be imported."""
    found = _FILE.findall((ROOT / "CONTRIBUTING.md").read_text())
    assert tuple(name for name, _ in found) == FILES
    for name, code in found:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(code) + "\n")
    (tmp_path / "agents/counts/__init__.py").touch()
    monkeypatch.setattr(agents, "__path__", [*agents.__path__, str(tmp_path / "agents")])
    yield tmp_path
    for module in [name for name in sys.modules if name.startswith("agents.counts")]:
        del sys.modules[module]


def test_it_is_formatted(written: Path) -> None:
    ruff = [str(Path(sys.executable).with_name("ruff"))]
    for check in (["check"], ["format", "--check", "--diff"]):
        config = ["--config", str(ROOT / "pyproject.toml"), "--no-cache", str(written)]
        ended = subprocess.run(
            ruff + check + config, capture_output=True, text=True, check=False, timeout=60
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr


async def test_its_test_passes(written: Path) -> None:
    scope: dict[str, Any] = {}
    exec((written / FILES[-1]).read_text(), scope)
    tests = [run for name, run in scope.items() if name.startswith("test_")]
    assert tests
    for run in tests:
        assert inspect.iscoroutinefunction(run)
        await run()


def test_the_simulation_runs_it(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts_stage = importlib.import_module("agents.counts.stage").counts_stage
    made = []

    def build(ports: WorkerPorts) -> list[Any]:
        made.append(counts_stage(ports.settings.partitions))
        return made[-1:]

    monkeypatch.setitem(cast(dict[str, Any], BUILDERS), "counts", build)
    everything = tuple(BUILDERS)
    steps = history.make(1, history.weights(), most=10)
    played = history.play(1, steps, Shape(workers=(everything, everything)))
    assert not played.wrong
    assert len(made) >= 2
