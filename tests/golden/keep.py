"""The bytes that are kept, and those that the present code would write."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec

from streams.tables.changelog import Header as ChangelogHeader
from streams.tables.sequences import Header as SequenceHeader
from tests.golden.samples import line, sample

ROOT = Path(__file__).parents[2]
BYTES = Path(__file__).with_name("bytes")
HEADERS = {"sequences": SequenceHeader, "changelog": ChangelogHeader}
"""Of the tables in RocksDB."""


def kept() -> list[str]:
    """A line of JSON each: kind, hex, decoded."""
    return [one for file in sorted(BYTES.glob("*.jsonl")) for one in file.read_text().splitlines()]


def said_by(folder: Path) -> list[str]:
    """The same as the schemas in a folder have it."""
    said = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("samples.py"))],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        check=True,
        capture_output=True,
        text=True,
    )
    return said.stdout.splitlines()


def present() -> list[str]:
    """The same as this code has it."""
    headers = {name: sample(cls) for name, cls in HEADERS.items()}
    return said_by(ROOT) + [
        line(f"header {name}", msgspec.msgpack.encode(header), header)
        for name, header in headers.items()
    ]
