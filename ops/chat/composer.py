"""The line in which a person writes."""

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import TextArea


class Composer(TextArea):
    """Enter sends; it grows with its lines."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "send", "Send", priority=True),
        Binding("ctrl+j,shift+enter,alt+enter", "new_line", "New line", show=False, priority=True),
        Binding("up", "earlier", show=False),
        Binding("pageup", "app.page(-1)", show=False),
        Binding("pagedown", "app.page(1)", show=False),
    ]
    DEFAULT_CSS = """
    Composer { height: auto; max-height: 8; border: round $panel-lighten-2; }
    Composer:focus { border: round $primary; }
    """

    class Sent(Message):
        """A person has pressed Enter."""

    def __init__(self) -> None:
        super().__init__(
            id="composer",
            show_line_numbers=False,
            tab_behavior="focus",
            highlight_cursor_line=False,
        )

    def action_send(self) -> None:
        self.post_message(self.Sent())

    def action_new_line(self) -> None:
        self.insert("\n")

    async def action_earlier(self) -> None:
        if self.text:
            self.action_cursor_up()
        else:
            await self.run_action("app.choose_last")
