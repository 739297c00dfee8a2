"""Where the judge had come to, in a file, so that the next run goes on from there."""

import os
import zlib
from pathlib import Path

import msgspec

from connectors.clickhouse.survey import CursorKey, Digested
from ops.audit.cursors import Standing
from ops.audit.topics import TopicsState
from schemas.topics import LOG, SUBMITTED

FORMAT = 1
_MAGIC = "messenger audit"


class CheckpointRefused(Exception):
    """The file is of another system, another format, or damaged; the text says which, and what to
    do."""


class Checkpoint(msgspec.Struct):
    """`topics`: name → Kafka's id of it; what was judged in a topic says nothing of another.
    `cursors`: partition of `cursors` → the next offset. `unarchived` and `behind` were not in the
    archive yet."""

    topics: dict[str, str]
    state: TopicsState
    cursors: dict[int, int] = msgspec.field(default_factory=dict)
    unarchived: list[Digested] = msgspec.field(default_factory=list)
    behind: list[tuple[CursorKey, Standing]] = msgspec.field(default_factory=list)


class _File(msgspec.Struct, array_like=True):
    magic: str
    format: int
    crc: int
    value: msgspec.Raw


_encode = msgspec.msgpack.Encoder().encode


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write the file as a whole or not at all. Raises OSError."""
    value = _encode(checkpoint)
    whole = _encode(_File(_MAGIC, FORMAT, zlib.crc32(value), msgspec.Raw(value)))
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(whole)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def load(path: Path, topics: dict[str, str], partitions: int) -> Checkpoint | None:
    """The checkpoint of a system with these topic ids and so many partitions; None if there is no
    file. Raises CheckpointRefused, OSError."""
    if not path.exists():
        return None
    checkpoint = _read(path)
    for topic in (SUBMITTED, LOG):
        before, now = checkpoint.topics.get(topic), topics.get(topic)
        if before != now:
            raise _refused(path, f"is of the topic {topic} with id {before}, and Kafka's has {now}")
    count = len(checkpoint.state.partitions)
    if count != partitions:
        raise _refused(path, f"is of {count} partitions, not {partitions}")
    return checkpoint


def _read(path: Path) -> Checkpoint:
    try:
        file = msgspec.msgpack.decode(path.read_bytes(), type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _refused(path, "is no checkpoint, or damaged") from None
    if file.magic != _MAGIC:
        raise _refused(path, "is no checkpoint")
    if file.format != FORMAT:
        raise _refused(path, f"is of format {file.format}, and this code reads format {FORMAT}")
    value = bytes(file.value)
    if zlib.crc32(value) != file.crc:
        raise _refused(path, "is damaged")
    return msgspec.msgpack.decode(value, type=Checkpoint)


def _refused(path: Path, why: str) -> CheckpointRefused:
    return CheckpointRefused(f"{path} {why}; move it away to begin anew")
