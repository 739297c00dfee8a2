"""The archive in ClickHouse: the rows of its tables, and the migrations that create the tables."""

from functools import cache
from importlib.resources import files
from typing import NamedTuple

MESSAGE, DELETION, ERASURE = 0, 2**62, 2**63
"""Versions of a row. Of the rows of one (conversation, seq), ClickHouse keeps the highest. The row
of a change has the change's number as version, and DELETION more if it deletes: that is final."""
_ERASURE_ONCE = 1
"""No change has this number."""


def is_erased(version: int) -> bool:
    """Whether a row of this version says that the message is gone."""
    return version >= DELETION or version == _ERASURE_ONCE


def changed_by(version: int) -> int:
    """The number of the change that a row of this version comes from, 0 if none."""
    return 0 if version == _ERASURE_ONCE else version % DELETION


class Row(NamedTuple):
    """A row of `archive.messages`, in the order of the columns. `time` is log time in ms, `key` has
    16 bytes. `changes`, if not 0: the row is a change, and the message with that number has its
    text."""

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
    changes: int = 0


DELIVERED, READ = "delivered", "read"
"""Kinds of cursors in the archive."""


class CursorRow(NamedTuple):
    """A row of `archive.cursors`: from `time` (ms, the broker's) on, the cursors stage knew that
    `user` had received or read (`kind`) all messages up to sequence number `up_to`."""

    conversation: str
    user: str
    kind: str
    up_to: int
    time: int


class Migration(NamedTuple):
    """One file of schemas/clickhouse. Every statement is safe to repeat. `blocks` says in words
    whether readers or writers have to wait for it."""

    number: int
    name: str
    blocks: str
    statements: list[str]


@cache
def migrations() -> list[Migration]:
    """All migrations in order: 1, 2, 3 …"""
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
