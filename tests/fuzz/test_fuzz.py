"""Each target of the fuzzer for a while: in `make chaos`, which sets MESSENGER_FUZZ_SECONDS."""

import os
import re
import subprocess
import sys

import pytest

from tests.fuzz.targets import TARGETS

SECONDS = int(os.environ.get("MESSENGER_FUZZ_SECONDS", "0"))


@pytest.mark.skipif(not SECONDS, reason="MESSENGER_FUZZ_SECONDS is not set: make chaos sets it")
@pytest.mark.timeout(SECONDS * 2 + 60)
@pytest.mark.parametrize("target", TARGETS)
def test_a_target(target: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", target, str(SECONDS)], capture_output=True, text=True
    )
    said = ended.stdout + ended.stderr
    assert ended.returncode == 0, said[-5000:]
    executed = re.search(r"number_of_executed_units: (\d+)", said)
    assert executed is not None
    assert int(executed[1]) > 0
    print(f"{target}: {executed[1]} inputs")
