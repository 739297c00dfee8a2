"""What `messenger chat` asks and explains on top of its screen."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from ops.chat.words import TICKS
from schemas.ids import InvalidId, user_id

_HELP = [
    ("Everywhere", ""),
    ("F1", "this page"),
    ("Ctrl-N", "talk to somebody"),
    ("Alt-↑  Alt-↓", "the conversation above, below"),
    ("Ctrl-B", "block the other one, or unblock"),
    ("Ctrl-T", "dark or light"),
    ("Tab", "to the next part of the screen"),
    ("Esc", "back to the list"),
    ("Ctrl-Q", "leave"),
    ("Where you write", ""),
    ("Enter", "send"),
    ("Ctrl-J  Shift-Enter", "begin a line"),
    ("PgUp  PgDn", "scroll the messages"),
    ("↑", "to your messages, if nothing is written"),
    ("At a message", ""),
    ("↑  ↓", "choose another one"),
    ("e  d  c", "edit, delete for everybody, copy"),
    ("Signs", ""),
    (TICKS["waiting"], "waits for the network"),
    (TICKS["sent"], "sent"),
    (TICKS["delivered"], "delivered to a device; in green: read"),
    (TICKS["failed"], "not sent; the reason is beside it"),
]

CSS = """
.dialog {
    width: 74; max-width: 94%; height: auto; max-height: 90%; padding: 1 2;
    border: round $primary; background: $surface;
}
.keys, #problem { margin-top: 1; color: $foreground 70%; }
ModalScreen { align: center middle; }
"""


class Ask(ModalScreen[bool]):
    """A question with yes and no. The text is shown as it is."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,enter", "answer(True)", "Yes"),
        Binding("n,escape", "answer(False)", "No"),
    ]

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Content(self._question))
            yield Static(Content("Enter or y: yes    Esc or n: no"), classes="keys")

    def action_answer(self, answer: bool) -> None:
        self.dismiss(answer)


class Whom(ModalScreen[str | None]):
    """Asks for another user's name."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Back")]

    def __init__(self, me: str) -> None:
        super().__init__()
        self._me = me

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static("Talk to whom?")
            yield Input(placeholder="user name")
            yield Static("", id="problem")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        name = event.value.strip()
        try:
            user_id(name)
        except InvalidId:
            problem = "A name has a-z, 0-9 and . _ - and begins with a letter or digit."
        else:
            problem = "That is you." if name == self._me else ""
        if problem:
            self.query_one("#problem", Static).update(Content(problem))
        else:
            self.dismiss(name)


class Help(ModalScreen[None]):
    """All keys and signs."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,f1,q", "dismiss(None)", "Back")]

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog", can_focus=True):
            for key, what in _HELP:
                styled = (key, "bold") if what else (f"\n{key}", "bold underline")
                yield Static(Content.assemble(styled, f"{' ' * (21 - len(key))}{what}"))
