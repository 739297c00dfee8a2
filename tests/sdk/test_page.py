"""The pure modules of the chat page, in node; tests/browser holds them in a browser."""

import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node here")
def test_the_page_s_pure_modules() -> None:
    command = ["node", "--test", str(Path(__file__).with_name("page.mjs"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
