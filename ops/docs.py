"""Pages that are made from the code: `python -m ops.docs` writes docs/TOPICS.md."""

from pathlib import Path

from schemas.topics import all_topics

_PAGE = Path(__file__).resolve().parents[1] / "docs" / "TOPICS.md"


def topics_page() -> str:
    """docs/TOPICS.md, from schemas/topics/*.yaml."""
    lines = ["# Topics", "", "Made from `schemas/topics/*.yaml` by `make docs`; do not edit.", ""]
    for topic in all_topics().values():
        settings = ", ".join(
            f"`{name}={value}`" for name, value in sorted(topic.settings().items())
        )
        versions = f"version {topic.version}, readers cope from {topic.lowest_version} on"
        setting = "MESSENGER_SLOTS" if topic.partitions == "slots" else "MESSENGER_PARTITIONS"
        lines += [
            f"## {topic.name}",
            "",
            topic.about,
            "",
            "| | |",
            "|---|---|",
            f"| key | {topic.key} |",
            f"| value | `schemas.events.{topic.value}`, {versions} |",
            f"| record | {topic.packed} |",
            f"| partitions | as many as {topic.partitions} ({setting}) |",
            f"| kept | {_kept(topic.retention_ms)} |",
            f"| written by | {', '.join(topic.writers)} |",
            f"| read by | {', '.join(topic.readers)} |",
            f"| settings | {settings} |",
            "",
        ]
    return "\n".join(lines)


def _kept(retention_ms: int) -> str:
    return (
        "the last record of each key, for good"
        if retention_ms < 0
        else f"{retention_ms / 3_600_000:g} hours"
    )


if __name__ == "__main__":
    _PAGE.write_text(topics_page())
