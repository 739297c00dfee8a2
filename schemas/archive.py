"""The archive in ClickHouse: rows of its tables, and the numbered migrations that make them."""

from functools import cache
from importlib.resources import files
from typing import NamedTuple

MESSAGE, ERASURE = 0, 1
"""Versions of a row; the highest of a (conversation, seq) stays."""


class Row(NamedTuple):
    """A row of `archive.messages`, in the order of its columns. `time` in ms of log time, `key` 16
    bytes."""

    conversation: str
    seq: int
    key: bytes
    sender: str
    device: str
    body: str
    time: int
    version: int
    log_partition: int
    log_offset: int


DELIVERED, READ = "delivered", "read"
"""Kinds of cursors in the archive."""


class CursorRow(NamedTuple):
    """A row of `archive.cursors`: at `time` (ms) it was known that `user` had received, or read,
    all up to `up_to`."""

    conversation: str
    user: str
    kind: str
    up_to: int
    time: int


class Migration(NamedTuple):
    """One file of schemas/clickhouse. Every statement is safe to repeat; `blocks` says whether
    readers or writers wait."""

    number: int
    name: str
    blocks: str
    statements: list[str]


@cache
def migrations() -> list[Migration]:
    """All of them, in order: 1, 2, 3 …"""
    folder = files("schemas") / "clickhouse"
    found = sorted(file.name for file in folder.iterdir() if file.name.endswith(".sql"))
    return [_migration(name, (folder / name).read_text()) for name in found]


def _migration(name: str, text: str) -> Migration:
    lines = text.splitlines()
    blocks = next(
        (line.partition("Blocks:")[2].strip() for line in lines if line.startswith("-- Blocks:")),
        "",
    )
    if not blocks:
        raise ValueError(f"{name} does not say whether it blocks")
    code = "\n".join(line for line in lines if not line.startswith("--"))
    statements = [statement.strip() for statement in code.split(";") if statement.strip()]
    return Migration(int(name[:4]), name.removesuffix(".sql"), blocks, statements)
