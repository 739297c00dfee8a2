"""Two lanes of layers: both run at once, all is printed, a failure is told, and Ctrl-C leaves
nothing behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ops.local.process import is_running, start_time
from tests.lanes import FAILED, INTERRUPTED

ROOT = Path(__file__).parents[2]
PROGRAM = """
import asyncio, sys
from pathlib import Path
from tests import lanes
from tests.lanes import Lanes, Layer
lanes._END_SECONDS = 1_000.0
folder = Path(sys.argv[1])
bare = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # plugins take longer to import than all the rest
layers = [Layer(name, [str(folder / f"{name}_test.py")], bare) for name in sys.argv[2:]]
sys.exit(asyncio.run(Lanes(layers, folder / "outputs", 2).run()))
"""
MEETS = """
import pathlib, time
def test_meets():
    here = pathlib.Path(__file__)
    here.with_suffix(".here").touch()
    while not (here.parent / "{other}_test.here").exists():
        time.sleep(0.01)
"""
HANGS = """
import os, pathlib, subprocess, time, pytest
@pytest.fixture
def service():
    running = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    yield running
    running.kill()
    running.wait()
def test_hangs(service):
    pids = pathlib.Path(__file__).with_suffix(".tmp")
    pids.write_text(f"{os.getpid()} {service.pid}")
    pids.rename(pids.with_suffix(".pids"))
    time.sleep(1000)
"""


_SECONDS = 1_000.0
"""Three processes start one after the other, and the machine may be busy: only lanes that hang come
so far. No layer is killed because it ends slowly either, since its service would stay."""
pytestmark = pytest.mark.timeout(3 * _SECONDS)


@contextmanager
def lanes(folder: Path, **tests: str) -> Iterator["subprocess.Popen[str]"]:
    """Running; it is ended at the end."""
    for name, text in tests.items():
        (folder / f"{name}_test.py").write_text(text)
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), *tests],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def test_two_layers_run_at_once_and_a_third_after_them(tmp_path: Path) -> None:
    """The first two wait for each other."""
    third = "def test_third():\n    pass\n"
    first, second = MEETS.format(other="b"), MEETS.format(other="a")
    with lanes(tmp_path, a=first, b=second, c=third) as running:
        said, _ = running.communicate(timeout=_SECONDS)
    assert running.returncode == 0
    assert said.count("1 passed") == 3


def test_a_layer_that_fails_is_told_whole_and_at_the_end(tmp_path: Path) -> None:
    wrong = "def test_wrong():\n    assert 1 == 2, 'the reason'\n"
    with lanes(tmp_path, wrong=wrong, right="def test_right():\n    pass\n") as running:
        said, _ = running.communicate(timeout=_SECONDS)
    assert running.returncode == FAILED
    assert "the reason" in said
    assert "1 passed" in said
    assert said.splitlines()[-1].endswith("failed: wrong")
    assert "the reason" in (tmp_path / "outputs" / "wrong.log").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_told_to_end_it_ends_both_lanes_and_their_services(
    tmp_path: Path, number: signal.Signals
) -> None:
    files = [tmp_path / f"{name}_test.pids" for name in "ab"]
    with lanes(tmp_path, a=HANGS, b=HANGS, c=HANGS) as running:
        until = time.monotonic() + _SECONDS
        while not all(file.exists() for file in files):
            assert time.monotonic() < until
            time.sleep(0.05)
        pids = [int(pid) for file in files for pid in file.read_text().split()]
        processes = [(pid, start_time(pid)) for pid in pids]
        os.kill(running.pid, number)
        running.communicate(timeout=_SECONDS)
    assert running.returncode == INTERRUPTED
    assert [is_running(*process) for process in processes] == [False] * 4
    assert not (tmp_path / "c_test.pids").exists()
