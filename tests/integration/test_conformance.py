"""The gateway passes the conformance kit, and the kit finds a server that does not."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from tests.harness.device import token_of
from tests.harness.stack import Stack

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

_KIT = Path(__file__).resolve().parents[2] / "clients" / "conformance"


async def _run(kit: Path, stack: Stack) -> tuple[int, str]:
    tokens = [f"{name}={token_of(stack, 'conforming-' + name)}" for name in ("alice", "bob")]
    command = [str(kit / "run.py"), "--url", stack.gateway_urls[0]]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        *(word for token in tokens for word in ("--token", token)),
        stdout=asyncio.subprocess.PIPE,
    )
    told, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, told.decode()


async def test_the_gateway_conforms(stack: Stack) -> None:
    code, told = await _run(_KIT, stack)
    assert code == 0, told
    assert told.count("passed") == len(list((_KIT / "scripts").glob("*.jsonl")))


async def test_the_kit_finds_what_a_script_does_not_allow(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text((_KIT / "run.py").read_text())
    (tmp_path / "scripts").mkdir()
    good = (_KIT / "scripts" / "greeting.jsonl").read_text()
    wrong = {
        "code": good.replace('"code":102', '"code":103'),
        "close": good + json.dumps(["b", ">", "{"]) + "\n" + json.dumps(["b", "x", 4500]) + "\n",
    }
    for name, text in wrong.items():
        assert text != good
        (tmp_path / "scripts" / f"{name}.jsonl").write_text(text)
    code, told = await _run(tmp_path, stack)
    assert (code, told.count("FAILED")) == (1, 2), told
