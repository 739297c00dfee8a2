"""The bytes that are kept, and those that the present code would write."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from ops.record_schemas import CONTRACTS, schema_of
from streams.tables.changelog import Header as ChangelogHeader
from streams.tables.sequences import Header as SequenceHeader
from tests.golden.samples import line, sample

ROOT = Path(__file__).parents[2]
BYTES = Path(__file__).with_name("bytes")
HEADERS = {"sequences": SequenceHeader, "changelog": ChangelogHeader}
"""Of the tables in RocksDB."""


def kept() -> list[str]:
    """A line of JSON each: kind, hex, decoded. (A contract has no bytes.)"""
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
    return [
        *said_by(ROOT),
        *(
            line(f"header {name}", msgspec.msgpack.encode(made), made)
            for name, made in headers.items()
        ),
        *(line(f"contract {topic}", b"", promise(CONTRACTS[topic])) for topic in CONTRACTS),
    ]


def promise(record: type[msgspec.Struct]) -> Any:
    """What a reader of a record may rely on: its schema without the words."""
    return _without_words(schema_of(record))


def keeps(now: Any, then: Any, may_grow: bool = False) -> bool:
    """Whether a promise holds what an earlier one has promised. A struct may get fields behind
    those that it had, and a union of structs more of them: readers leave out what they do not
    know. All else stays."""
    if isinstance(then, dict):
        return isinstance(now, dict) and all(
            key in now and keeps(now[key], one, key == "prefixItems" or _are_structs(key, one))
            for key, one in then.items()
        )
    if isinstance(then, list):
        as_long = isinstance(now, list) and (len(now) == len(then) or may_grow)
        return as_long and len(now) >= len(then) and all(map(keeps, now, then))
    return bool(now == then)


def _are_structs(key: str, kinds: Any) -> bool:
    return key == "anyOf" and all("$ref" in kind for kind in kinds)


def _without_words(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {key: _without_words(one) for key, one in schema.items() if key != "description"}
    return [_without_words(one) for one in schema] if isinstance(schema, list) else schema
