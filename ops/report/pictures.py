"""Draws an answer as SVG. The page's colour of text applies, light or dark."""

import io
from datetime import date
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from connectors.clickhouse.analyst import Answer
from ops.report.questions import Drawn, Question

_TEXT = "#010203"
"""Stands for the page's colour, until the picture is done."""
_LINES = ("#3b7ddd", "#e0722b", "#2f9e5f", "#b453c9")
_STYLE: Any = {  # matplotlib types each name
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["system-ui", "DejaVu Sans"],
    "text.color": _TEXT,
    "axes.labelcolor": _TEXT,
    "axes.edgecolor": _TEXT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.alpha": 0.3,
    "xtick.color": _TEXT,
    "ytick.color": _TEXT,
    "legend.frameon": False,
}
_LABELS = 10
"""So many fit below a plot."""


def picture(question: Question, answer: Answer) -> str:
    """An SVG element. It needs nothing from elsewhere, no script either."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7.5, 3), layout="constrained")
        axes = figure.subplots()
        _draw(axes, question, answer)
        written = io.StringIO()
        figure.savefig(
            written, format="svg", transparent=True, metadata={"Date": None, "Creator": None}
        )
    svg = written.getvalue()
    return svg[svg.index("<svg") :].replace(_TEXT, "currentColor")


def _draw(axes: Axes, question: Question, answer: Answer) -> None:
    places = range(len(answer.rows))
    for number, column in enumerate(answer.columns[1:], start=1):
        values = [float("nan") if row[number] is None else row[number] for row in answer.rows]
        label, colour = question.words.get(column, column), _LINES[number - 1]
        if question.drawn is Drawn.BARS:
            axes.bar(places, values, color=colour, label=label)
        else:
            axes.plot(places, values, color=colour, label=label, marker="o", markersize=3)
    if question.by_tens:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.12g}"))
    axes.set_ylabel(question.unit)
    labels = [_label(row[0]) for row in answer.rows]
    every = max(1, -(-len(labels) // _LABELS))
    axes.set_xticks(places[::every], labels[::every])
    if len(answer.columns) > 2:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=4)


def _label(value: Any) -> str:
    return f"{value.day} {value:%b}" if isinstance(value, date) else str(value)
