"""What a table that folds a compacted topic (its changelog) has in common with every other."""

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec


class Header(msgspec.Struct, array_like=True, frozen=True):
    """`topic` is Kafka's id of the changelog; its records before `offset` are in the table. `input`
    is Kafka's id of the input whose facts are in it, "" if that is not known."""

    topic: str
    offset: int
    input: str = ""


class ChangelogTable(Protocol):
    """It may be behind its topic and is never ahead of it. Its methods raise DiskUnavailable."""

    @property
    def header(self) -> Header | None: ...

    def write(self, changed: Mapping[Any, Any], header: Header | None = None) -> None:
        """Bring changes, and maybe up to where the topic has been read, into the table,
        atomically."""

    def close(self) -> None: ...

    def wipe(self) -> None:
        """Close it, and delete what it has on disk: its topic is another."""
