"""How a conversation is laid out in lines of a terminal. Pure; widths are cells."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from rich.cells import cell_len, chop_cells

from ops.chat.state import SCROLLED, Conversation, Message
from ops.chat.words import TICKS, clock, day, fate, plain

_WIDEST = 72
_TOGETHER_MS = 5 * 60_000
"""Messages of one sender within this time stand together."""


class Line(NamedTuple):
    """`pieces`: text and style, from the left. `of`: the number or, without one, the key of the
    message that it belongs to. `ends`: the last line of that message."""

    pieces: tuple[tuple[str, str], ...] = ()
    of: int | str = 0
    ends: bool = False


def lines(conversation: Conversation, width: int, now: int, selected: int | str = 0) -> list[Line]:
    """The whole conversation."""
    return list(_lines(conversation, width, now, selected))


def _lines(conversation: Conversation, width: int, now: int, selected: int | str) -> Iterator[Line]:
    messages = conversation.messages
    if conversation.deep:
        yield _middle("Nothing earlier is shown here", "note", width)
    elif conversation.whole:
        yield _middle("The beginning of the conversation", "note", width)
    last_own = next((one for one in reversed(messages) if one.sender == conversation.me), None)
    changing = set(conversation.changing.values())
    before: Message | None = None
    new = conversation.new_after
    for message in messages:
        today = day(message.time, now)
        apart = before is None or day(before.time, now) != today
        if apart:
            yield Line()
            yield _middle(today, "day", width)
        if new is not None and message.seq > new and message.sender != conversation.me:
            yield _middle("New messages", "new", width)
            new, apart = None, True
        if message.missing:
            yield _middle(f"{message.missing} messages before are no longer kept", "note", width)
        if apart or before is None or not _together(before, message):
            yield Line()
        own = message.sender == conversation.me
        fate_ = fate(message, conversation) if own and not message.erased else ""
        more = [message.note] if message.note else ["changing…"] if message.seq in changing else []
        if fate_ and message is last_own and not more:
            more = [fate_]
        yield from _bubble(
            message, own, fate_, " ".join(more), width, (message.seq or message.key) == selected
        )
        before = message
    yield Line()


def _together(before: Message, message: Message) -> bool:
    near = message.time - before.time < _TOGETHER_MS
    return before.sender == message.sender and near


@lru_cache(2 * SCROLLED)
def _bubble(
    message: Message, own: bool, fate_: str, more: str, width: int, selected: bool
) -> tuple[Line, ...]:
    """A message with its time and ticks, at the right if it is one's own."""
    room = max(8, min(_WIDEST, width * 4 // 5) - 2)
    text = "deleted" if message.erased else plain(message.body)
    rows = wrap(text, room)
    meta = [clock(message.time)]
    meta += ["edited"] if message.version and not message.erased else []
    meta += [TICKS[fate_]] if fate_ else []
    about = " ".join([*meta, more] if more else meta)
    with_it = cell_len(rows[-1]) + 2 + cell_len(about)
    abouts = [] if with_it <= room else wrap(about, room)
    inner = max([*map(cell_len, [*rows, *abouts]), 0 if abouts else with_it])
    look = "selected" if selected else "own" if own else "other"
    quiet = look if selected else f"{look}-about"
    if fate_ in ("read", "failed") and not selected:
        quiet = f"{look}-{fate_}"
    words = f"{look}-gone" if message.erased and not selected else look
    indent = " " * (width - inner - 3 if own else 1)
    of = message.seq or message.key
    drawn: list[tuple[tuple[str, str], ...]] = []
    for number, row in enumerate(rows, start=1):
        tail = about if number == len(rows) and not abouts else ""
        gap = " " * (inner - cell_len(row) - cell_len(tail))
        drawn.append(((indent, ""), (f" {row}{gap}", words), (f"{tail} ", quiet)))
    for row in abouts:
        gap = " " * (inner - cell_len(row))
        drawn.append(((indent, ""), (f" {gap}{row} ", quiet)))
    return tuple(
        Line(pieces, of, number == len(drawn)) for number, pieces in enumerate(drawn, start=1)
    )


def wrap(text: str, width: int) -> list[str]:
    """Lines of at most `width` cells; cut between words where that can be."""
    rows: list[str] = []
    for paragraph in text.split("\n"):
        row, length = "", 0
        for word in re.findall(r"\S+\s*|\s+", paragraph):
            if row and length + cell_len(word.rstrip()) > width:
                rows.append(row.rstrip())
                row, length = "", 0
            bare = word.rstrip()
            if cell_len(bare) > width:
                *full, rest = chop_cells(bare, width)
                rows += full
                word = rest + word[len(bare) :]
            row, length = row + word, length + cell_len(word)
        rows.append(row.rstrip())
    return rows


def _middle(text: str, style: str, width: int) -> Line:
    shown = f" {text} "
    if style == "new":
        side = "─" * max(0, (width - cell_len(shown)) // 2)
        return Line(((f"{side}{shown}{side}", style),))
    return Line(((" " * max(0, (width - cell_len(shown)) // 2), ""), (shown, style)))
