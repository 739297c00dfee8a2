"""What the numbers of messages depend on, beside the records: kept with everything that outlives a
process, and compared before it is used."""

from typing import NamedTuple


class Numbering(NamedTuple):
    """`input_topic` and `log_topic` are Kafka's ids of `messages.submitted` and `messages`, which
    have so many `partitions`; `fold_version` was in force when this was kept."""

    input_topic: str
    log_topic: str
    partitions: int
    fold_version: int


def partitions_differ(kept: int, partitions: int) -> str | None:
    """Why what was made for `kept` partitions must not be used with `partitions`, or None if it
    may. The text goes on after a subject. `kept` 0: an older version has not said it."""
    if kept in (0, partitions):
        return None
    return (
        f"was made for {kept} partitions, and MESSENGER_PARTITIONS is {partitions}: conversations"
        f" that belong to another partition then would be numbered from 1 again; set it to {kept}"
    )
