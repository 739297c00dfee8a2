"""`python -m ops.docs` writes docs/TOPICS.md from schemas/topics/*.yaml."""

from pathlib import Path
from textwrap import wrap

from schemas.topics import Topic, all_topics

_PAGE = Path(__file__).resolve().parents[1] / "docs" / "TOPICS.md"


def topics_page() -> str:
    """The text of docs/TOPICS.md."""
    lines = [
        "# Topics",
        "",
        "`make docs` writes this page from `schemas/topics/*.yaml`; do not edit it.",
        "",
    ]
    for topic in all_topics().values():
        settings = ", ".join(
            f"`{name}={value}`" for name, value in sorted(topic.settings().items())
        )
        versions = f"version {topic.version}; readers accept {topic.lowest_version} and later"
        setting = "MESSENGER_SLOTS" if topic.partitions == "slots" else "MESSENGER_PARTITIONS"
        lines += [
            f"## {topic.name}",
            "",
            *wrap(topic.about, 100),
            "",
            "| | |",
            "|---|---|",
            f"| key | {topic.key} |",
            f"| value | `schemas/events.py:{topic.value}`, {versions} |",
            f"| record | {topic.packed} |",
            f"| partitions | as many as {topic.partitions} ({setting}) |",
            f"| kept | {_kept(topic)} |",
            f"| copies | {topic.replication} brokers (MESSENGER_REPLICATION); {_copies(topic)} |",
            f"| written by | {', '.join(topic.writers)} |",
            f"| read by | {', '.join(topic.readers)} |",
            f"| settings | {settings} |",
            "",
        ]
    return "\n".join(lines)


def _copies(topic: Topic) -> str:
    flushed = "on their disks by then" if topic.flushed else "no difference"
    return (
        f"{topic.min_insync_replicas} have a record before it is acknowledged; with"
        f" MESSENGER_FLUSH=always: {flushed}"
    )


def _kept(topic: Topic) -> str:
    if topic.config["cleanup.policy"] == "compact,delete":
        return f"the last record of each key, {topic.retention_ms / 86_400_000:g} days"
    if topic.retention_ms >= 0:
        return f"{topic.retention_ms / 3_600_000:g} hours"
    if topic.config["cleanup.policy"] == "compact":
        return "the last record of each key, for ever"
    return "until its writer deletes it"


if __name__ == "__main__":
    _PAGE.write_text(topics_page())
