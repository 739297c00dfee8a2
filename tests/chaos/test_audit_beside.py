"""The judge follows a running system while its parts are killed: it calls nothing wrong that is
right, and its last pass has read everything."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.local.process import die_with_parent
from tests.chaos.conftest import ROUNDS
from tests.harness.load import Load
from tests.harness.stack import Stack
from tests.harness.talk import Talk

pytestmark = [pytest.mark.real, pytest.mark.chaos, pytest.mark.timeout(300 + 60 * ROUNDS)]
PARTS = {"workers": 2, "archivers": 1}
KILLED = ("worker-1", "archiver-1", "worker-2")


@pytest.fixture
def following(lab: Stack, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A judge that follows, and the file in which it says what it finds."""
    said = tmp_path / "said"
    options = ["--follow", "--every", "0.5", "--json", "--checkpoint", str(tmp_path / "checkpoint")]
    with said.open("w") as output:
        judge = subprocess.Popen(
            [sys.executable, "-m", "ops", "audit", *options],
            env=lab.environment(),
            stdout=output,
            stderr=output,
            text=True,
            preexec_fn=die_with_parent,
        )
    yield judge, said
    judge.kill()
    judge.wait()


@pytest.mark.soak
async def test_the_judge_follows_while_parts_are_killed(
    lab: Stack, talk: Talk, load: Load, following: tuple[subprocess.Popen[str], Path]
) -> None:
    judge, said = following
    await load.start()
    for round_ in range(ROUNDS):
        for part in KILLED:
            await load.sent(200)
            await asyncio.to_thread(lab.replace, part)
        await load.sent(200)
        print(f"round {round_}: {len(talk.accepted)} messages")
    await load.stop()
    await talk.settle(60)
    assert talk.verdict().clean, talk.verdict().lines()
    async with asyncio.timeout(60):
        while figures(said).get("archived messages", 0) < len(talk.accepted):
            await asyncio.sleep(0.2)
    judge.terminate()
    assert await asyncio.to_thread(judge.wait, 20) == 0, said.read_text()


def figures(said: Path) -> dict[str, int]:
    """Those of the last pass."""
    passes = [line for line in said.read_text().splitlines() if line.startswith('{"clean"')]
    found: dict[str, int] = json.loads(passes[-1])["figures"] if passes else {}
    return found
