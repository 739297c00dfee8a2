"""Runs the readers of examples/readers as another team would: without the messenger's code."""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
READERS = ROOT / "examples" / "readers"
_MODULES = ROOT / ".local" / "npm-readers" / "node_modules"
PYTHON, NODE = "messages.py", "messages.mjs"
_SECONDS = 60


def read_messages(reader: str, kafka: str) -> list[tuple[Any, ...]]:
    """What a reader of the log has printed, changes applied, as the archive has it: (conversation,
    seq, key, sender, device, body, time, changes), each printed line once."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(READERS / reader, folder)
        command = [sys.executable, "-I", reader]
        if reader == NODE:
            if not _MODULES.exists():
                pytest.skip("kafkajs is not here: ops/setup.sh test, with npm")
            Path(folder, "node_modules").symlink_to(_MODULES)
            command = ["node", reader]
        ran = subprocess.run(
            [*command, kafka], cwd=folder, capture_output=True, text=True, timeout=_SECONDS
        )
    assert ran.returncode == 0, ran.stderr
    printed = [json.loads(line) for line in ran.stdout.splitlines()]
    return _with_changes(printed)


def _with_changes(printed: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    bodies = {
        (one["conversation"], one["changes"]): one["body"] for one in printed if one["changes"]
    }
    rows = []
    for one in printed:
        body = "" if one["changes"] else one["body"]
        body = bodies.get((one["conversation"], one["seq"]), body)
        names = ("conversation", "seq", "key", "sender", "device")
        rows.append((*(one[name] for name in names), body, one["time"], one["changes"]))
    return rows
