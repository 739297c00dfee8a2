"""Keeps what a version of this code writes, for ever.

python -m tests.golden                 # of the present one: do it when tests/unit/test_golden.py
                                       # says that something new is not kept yet
python -m tests.golden COMMIT ...      # of earlier ones, the oldest first
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.golden.keep import BYTES, ROOT, kept, present, said_by


def main() -> None:
    for commit in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as folder:
            archive = subprocess.run(
                ["git", "-C", str(ROOT), "archive", commit, "schemas"],
                check=True,
                capture_output=True,
            ).stdout
            subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
            _keep(commit, said_by(Path(folder)))
    if not sys.argv[1:]:
        _keep("present", present())


def _keep(name: str, lines: list[str]) -> None:
    new = sorted(set(lines) - set(kept()))
    if new:
        file = BYTES / f"{len(list(BYTES.glob('*.jsonl'))) + 1:02}-{name}.jsonl"
        file.write_text("\n".join(new) + "\n")
    print(f"{name}: {len(new)} new of {len(lines)}")


if __name__ == "__main__":
    main()
