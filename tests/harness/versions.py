"""Processes of two versions of this code side by side: one is this checkout, the other an earlier
commit from git, run by this environment."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from ops.local.process import die_with_parent
from tests.harness.stack import Stack

ROOT = Path(__file__).parents[2]


def check_out(commit: str, folder: Path) -> Path:
    """The files of a commit, in a new folder. A clone that lacks the commit, as a shallow one does,
    fetches it. Fails the test if it cannot be had."""
    folder.mkdir()
    if _git("cat-file", "-e", f"{commit}^{{commit}}").returncode:
        fetched = _git("fetch", "--quiet", "--depth=1", "origin", commit)
        if fetched.returncode:
            pytest.fail(
                f"an older version is to run beside this one, and git cannot have {commit}: "
                f"{fetched.stderr.decode().strip()}; `git fetch --unshallow` brings all commits, "
                "and MESSENGER_OLDER names another one"
            )
    subprocess.run(["tar", "-x", "-C", folder], input=_git("archive", commit).stdout, check=True)
    return folder


def _git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True)


class Part:
    """A process of ours, by the code in a folder that can change from start to start. It is healthy
    when its page `path` says so."""

    def __init__(
        self, stack: Stack, name: str, arguments: list[str], port: int, path: str, **settings: str
    ) -> None:
        self.name = name
        self._arguments = arguments
        self._url = f"http://127.0.0.1:{port}{path}"
        self._settings = {**stack.environment(), **settings}
        self._log = stack.home / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, code: Path) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ops", *self._arguments],
                cwd=code,
                env={**self._settings, "PYTHONPATH": str(code)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent,
            )

    def wait_healthy(self, timeout: float = 90) -> None:
        """Call it in a thread."""
        until = time.monotonic() + timeout
        while not self._healthy():
            assert self._process is not None
            assert self._process.poll() is None, self._log.read_text()[-3000:]
            assert time.monotonic() < until, self._log.read_text()[-3000:]
            time.sleep(0.1)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        os.kill(self._process.pid, number)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(self._url, timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False
