"""The open conversation: lines that scroll, in which a person can go from message to message."""

from typing import ClassVar

from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.events import Click
from textual.geometry import Size
from textual.message import Message as Posted
from textual.scroll_view import ScrollView
from textual.strip import Strip

from ops.chat.bubbles import Line

_NEAR_TOP = 3
"""Lines from the top at which older messages are wanted."""


class Talk(ScrollView, can_focus=True):
    """`show` draws it. What is in sight stays where it is, whatever comes before or after it; at
    the end it follows what comes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "select(-1)", "Earlier", show=False),
        Binding("down", "select(1)", "Later", show=False),
        Binding("e", "app.edit", "Edit"),
        Binding("d", "app.delete", "Delete"),
        Binding("c", "app.copy", "Copy"),
    ]
    STYLES: ClassVar[tuple[str, ...]] = (
        *("own", "own-about", "own-read", "own-failed", "own-gone"),
        *("other", "other-about", "other-gone", "selected", "day", "new", "note"),
    )
    COMPONENT_CLASSES: ClassVar[set[str]] = {f"talk--{style}" for style in STYLES}
    DEFAULT_CSS = """
    Talk { overflow-x: hidden; overflow-y: scroll; scrollbar-size-vertical: 1; height: 1fr; }
    Talk > .talk--own { background: $primary-darken-2; color: $text; }
    Talk > .talk--own-about { background: $primary-darken-2; color: $text 70%; }
    Talk > .talk--own-read { background: $primary-darken-2; color: $success-lighten-3; }
    Talk > .talk--own-failed { background: $error; color: $text; text-style: bold; }
    Talk > .talk--own-gone { background: $primary-darken-2; color: $text 70%; text-style: italic; }
    Talk > .talk--other { background: $panel; color: $foreground; }
    Talk > .talk--other-about { background: $panel; color: $foreground 70%; }
    Talk > .talk--other-gone { background: $panel; color: $foreground 70%; text-style: italic; }
    Talk > .talk--selected { background: $warning; color: $background; }
    Talk > .talk--day { color: $foreground 80%; text-style: bold; }
    Talk > .talk--new { color: $text-warning; }
    Talk > .talk--note { color: $foreground 70%; text-style: italic; }
    """

    class Seen(Posted):
        """A person sees all up to this message."""

        def __init__(self, seq: int) -> None:
            super().__init__()
            self.seq = seq

    class Top(Posted):
        """The oldest messages that are here are in sight."""

    class Stale(Posted):
        """It has to be shown anew: its size is another one, or another message is chosen."""

    def __init__(self) -> None:
        super().__init__(id="talk")
        self.selected: int | str = 0
        """The number or key of the message that was chosen."""
        self._lines: list[Line] = []
        self._blank = 0
        """Empty lines before them, if they do not fill the screen."""
        self._about = ""
        self._ended = True
        """The person is at the end, and stays there."""

    def show(self, about: str, lines: list[Line], new: bool) -> None:
        """Draw the lines of a conversation. `about` is its name; one that was not shown before
        begins at its end, or with `new` at the line "New messages"."""
        other, self._about = about != self._about, about
        ended = other or self._ended
        anchor = self._anchor()
        self._lines = lines
        self._blank = max(0, self.size.height - len(lines))
        if self._blank:
            self.post_message(self.Top())
        self.virtual_size = Size(self.size.width, len(lines) + self._blank)
        self._refresh_scrollbars()
        if other:
            self.selected = 0
        if other and new:
            self._go(next((n for n, one in enumerate(lines) if _is_new(one)), len(lines)) - 1)
        elif ended:
            self.scroll_end(animate=False, immediate=True, x_axis=False)
        elif anchor is not None:
            of, nth, below = anchor
            self._go(self._first(of) + nth + self._blank - below)
        self.refresh()
        self._look()

    def choose(self, of: int | str) -> None:
        """Choose this message, or none (0), and bring it into sight."""
        self.selected = of
        self.post_message(self.Stale())
        if of and (mine := [n for n, one in enumerate(self._lines) if one.of == of]):
            top = self.scroll_offset.y - self._blank
            if mine[0] < top:
                self._go(mine[0] + self._blank - 1)
            elif mine[-1] >= top + self.size.height:
                self._go(mine[-1] + self._blank - self.size.height + 1)

    async def action_select(self, step: int) -> None:
        all_ = list(dict.fromkeys(one.of for one in self._lines if one.of))
        if not all_:
            return
        at = all_.index(self.selected) if self.selected in all_ else len(all_)
        if at + step >= len(all_):
            self.choose(0)
            await self.run_action("app.write")
        else:
            self.choose(all_[max(0, at + step)])

    def render_line(self, y: int) -> Strip:
        number = y + self.scroll_offset.y - self._blank
        pieces = self._lines[number].pieces if 0 <= number < len(self._lines) else ()
        base = self.rich_style
        drawn = [
            Segment(text, self.get_component_rich_style(f"talk--{style}") if style else base)
            for text, style in pieces
        ]
        return Strip(drawn).adjust_cell_length(self.size.width, base)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self._ended = round(new_value) >= self.max_scroll_y
        if round(new_value) < round(old_value) and round(new_value) <= _NEAR_TOP:
            self.post_message(self.Top())
        self._look()

    def on_resize(self) -> None:
        self.post_message(self.Stale())

    def on_click(self, event: Click) -> None:
        number = event.y + self.scroll_offset.y - self._blank
        if 0 <= number < len(self._lines):
            self.choose(self._lines[number].of)

    def _look(self) -> None:
        """Say what is in sight."""
        below = self.scroll_offset.y - self._blank + self.size.height
        seen = [one.of for one in self._lines[: max(0, below)] if one.ends]
        numbered = next((of for of in reversed(seen) if isinstance(of, int)), 0)
        if numbered and self.size.height:
            self.post_message(self.Seen(numbered))

    def _anchor(self) -> tuple[int | str, int, int] | None:
        """The first message in sight: which line of it stands how far below the top."""
        top = self.scroll_offset.y - self._blank
        for number in range(max(0, top), len(self._lines)):
            of = self._lines[number].of
            if of:
                return of, number - self._first(of), number - top
        return None

    def _first(self, of: int | str) -> int:
        return next((n for n, one in enumerate(self._lines) if one.of == of), 0)

    def _go(self, y: int) -> None:
        self.scroll_to(y=max(0, y), animate=False, immediate=True)


def _is_new(line: Line) -> bool:
    return any(style == "new" for _, style in line.pieces)
