"""A report: one HTML page, and each of its plots as an SVG file."""

from collections.abc import Iterator
from datetime import datetime
from html import escape
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

from connectors.clickhouse.analyst import Analyst, Answer
from ops.report.pictures import picture
from ops.report.questions import QUESTIONS, Drawn, Question

_PAGE = Template((Path(__file__).parent / "page.html").read_text(encoding="utf-8"))


class Range(NamedTuple):
    """From `since`, included, to `until`, not included; both UTC."""

    since: datetime
    until: datetime


def write(analyst: Analyst, range_: Range, folder: Path) -> Path:
    """Ask everything, write the files into `folder`, and return the page's path. Raises
    ArchiveUnavailable, ArchiveRefused, OSError; the files are written when all has been answered.
    """
    parameters = {"since": range_.since, "until": range_.until}
    answers = [(one, analyst.ask(one.query, parameters)) for one in QUESTIONS]
    drawn = {
        one.name: picture(one, answer)
        for one, answer in answers
        if one.drawn is not Drawn.TABLE and answer.rows
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, svg in drawn.items():
        (folder / f"{name}.svg").write_text(svg, encoding="utf-8")
    sections = [_section(one, answer, drawn.get(one.name)) for one, answer in answers]
    page = folder / "index.html"
    page.write_text(
        _PAGE.substitute(
            since=f"{range_.since:%-d %B %Y}",
            until=f"{range_.until:%-d %B %Y}",
            made=f"{range_.until:%Y-%m-%d %H:%M}",
            summary=_summary({one.name: answer for one, answer in answers}),
            sections="\n".join(sections),
        ),
        encoding="utf-8",
    )
    return page


def _summary(answers: dict[str, Answer]) -> str:
    messages = sum(row[1] for row in answers["messages"].rows)
    if not messages:
        return "Nobody sent a message."
    busiest = max(answers["messages"].rows, key=lambda row: row[1])
    return f"{messages:,} messages. The busiest day was {busiest[0]:%-d %B} with {busiest[1]:,}."


def _section(question: Question, answer: Answer, drawn: str | None) -> str:
    return "\n".join(
        (
            f'<section id="{question.name}">',
            f"<h2>{escape(question.title)}</h2>",
            f"<p>{escape(question.text)}</p>",
            *_shown(question, answer, drawn),
            "</section>",
        )
    )


def _shown(question: Question, answer: Answer, drawn: str | None) -> Iterator[str]:
    if not answer.rows:
        yield "<p>None.</p>"
    elif drawn is None:
        yield _table(question, answer)
    else:
        yield f'<figure role="img" aria-label="{escape(question.title)}">{drawn}</figure>'
        yield f"<details><summary>Numbers</summary>{_table(question, answer)}</details>"


def _table(question: Question, answer: Answer) -> str:
    head = "".join(f"<th>{escape(question.words.get(name, name))}</th>" for name in answer.columns)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(_cell(value))}</td>" for value in row) + "</tr>"
        for row in answer.rows
    )
    return f'<div class="scroll"><table><tr>{head}</tr>{rows}</table></div>'


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return f"{value:,}" if isinstance(value, int | float) else str(value)
