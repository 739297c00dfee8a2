"""The vectors of clients/vectors, which the page's device passes, too (tests/browser)."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.sdk.vectors import FOLDER, play, vectors


@pytest.mark.parametrize("path", vectors(), ids=lambda path: path.stem)
def test_the_device_does_as_the_vector_says(path: Path) -> None:
    for number, (step, given) in enumerate(play(json.loads(path.read_text()))):
        where = f"step {number}: {step}"
        if "shows" in step:
            first, last = step["shows"]
            assert [event["seq"] for event in given["events"]] == list(range(first, last + 1))
        else:
            assert given["events"] == step.get("events", []), where
        assert given["frames"] == step.get("frames", []), where
        assert given["wake_at"] == step["wake_at"], where


def test_there_are_vectors() -> None:
    assert len(vectors()) > 30


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node here")
def test_the_page_s_device_does_as_the_vectors_say() -> None:
    """The same as tests/browser/test_vectors.py, without a browser."""
    root = FOLDER.parents[1]
    script = f"""
    import {{ readFileSync }} from "node:fs";
    import {{ play }} from "{root}/tests/browser/vectors.js";
    import {{ Device }} from "{root}/clients/web/device.js";
    for (const path of {json.dumps([str(path) for path in vectors()])}) {{
      const wrong = play(Device, JSON.parse(readFileSync(path)));
      if (wrong) console.log(path, JSON.stringify(wrong));
    }}
    """
    command = ["node", "--experimental-default-type=module", "--input-type=module"]
    done = subprocess.run(command, input=script, capture_output=True, text=True, timeout=60)
    if "bad option" in done.stderr:
        pytest.skip("this node loads no modules without a package.json")
    assert (done.stdout, done.returncode) == ("", 0), done.stderr
