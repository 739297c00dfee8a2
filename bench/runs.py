"""Several runs of one measurement as one: the median of each figure with its spread."""

import statistics
from collections.abc import Callable
from typing import Any


def repeat(runs: int, run: Callable[[int], dict[str, Any]]) -> dict[str, Any]:
    """Call `run` with 1, 2 … `runs` and combine what it returns."""
    return combine([run(number) for number in range(1, runs + 1)])


def combine(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Each number becomes [median, least, most]. Below `verdict`, each becomes its sum: one lost
    message in one run must be seen. A number that a run does not have counts as 0."""
    return {
        name: {key: sum(run[name][key] for run in runs) for key in runs[0][name]}
        if name == "verdict"
        else _combine([run.get(name, 0) for run in runs])
        for name in dict.fromkeys(name for run in runs for name in run)
    }


def _combine(values: list[Any]) -> Any:
    if any(isinstance(value, dict) for value in values):
        return combine([value or {} for value in values])
    return [round(figure, 3) for figure in (statistics.median(values), min(values), max(values))]
