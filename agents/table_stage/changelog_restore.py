"""A partition's table, brought up to the compacted topic that keeps the same."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

from agents.table_stage.partition import Partition
from connectors.kafka.reader import Reader
from streams.tables.cursors import Header

Key = TypeVar("Key")
Value = TypeVar("Value")
Written = TypeVar("Written", contravariant=True)


class Table(Protocol[Key, Written]):
    """A table as `read_kept` uses it: `header` says up to where it has its topic."""

    header: Header | None

    def write(self, changed: Mapping[Key, Written], header: Header | None = None) -> None: ...
    def close(self) -> None: ...
    @staticmethod
    def destroy(folder: Path) -> None: ...


AnyTable = TypeVar("AnyTable", bound=Table[Any, Any])
Fold = Callable[[AnyTable, Iterator[bytes], dict[Key, Value], dict[Key, Value]], None]
"""(table, values of records, changed, outdone): what of the records is news into `changed`; into
`outdone` what the table knows better than the last record of the same thing."""


def read_kept(
    partition: Partition[Any],
    reader: Reader,
    topic: str,
    folder: Path,
    open_table: Callable[[], AnyTable],
    fold: Fold[AnyTable, Key, Value],
) -> tuple[AnyTable, dict[Key, Value]]:
    """The open table in `folder`, and what the topic must be told again, for compaction to keep. A
    table of another topic than this is begun anew. Blocks; ends early if the partition is closed.
    Raises ReadTimeout, OffsetGone, KafkaUnreachable."""
    topic_id = partition.outside.topic_ids()[topic]
    table = open_table()
    try:
        if table.header is not None and table.header.topic != topic_id:
            table.close()
            table.destroy(folder)
            table = open_table()
        start, end = reader.watermarks(topic, partition.number)
        first = max(start, table.header.offset if table.header else 0)
        outdone: dict[Key, Value] = {}
        for batch in reader.batches(topic, partition.number, first, end, lambda: partition.closed):
            changed: dict[Key, Value] = {}
            fold(table, (record.value for record in batch), changed, outdone)
            table.write(changed, Header(topic_id, batch[-1].offset + 1))
        if not partition.closed:
            table.write({}, Header(topic_id, end))
    except BaseException:
        table.close()
        raise
    return table, outdone
