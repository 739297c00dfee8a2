"""Cells and rows of the tables in bench/results."""

from collections.abc import Iterable, Mapping
from typing import Any

NOTHING = "–"


def figure(value: Any) -> str:
    """A median with its spread; 1 to 3 digits after the point, as its size needs."""
    if not isinstance(value, list):
        return number(value) if isinstance(value, int | float) else str(value)
    median, least, most = map(number, value)
    return median if least == most else f"{median} ({least}–{most})"


def table_of(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    """The lines of a table, and an empty one."""
    ruler = "|".join("---" for _ in head)
    lines = [" | ".join(row) for row in rows]
    return [f"| {' | '.join(head)} |", f"|{ruler}|", *(f"| {line} |" for line in lines), ""]


def slashed(figures: Mapping[str, Any]) -> str:
    return " / ".join(map(figure, figures.values()))


def number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"
