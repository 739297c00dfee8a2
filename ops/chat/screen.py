"""The screen of `messenger chat`: the list, the open conversation, and the line to write in. It
draws a `Chat` and decides nothing."""

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Footer, OptionList, Static
from textual.widgets.option_list import Option

from ops.chat.bubbles import lines
from ops.chat.composer import Composer
from ops.chat.entries import entry, heading
from ops.chat.state import Chat, Conversation
from ops.chat.talk import Talk
from schemas.codes import Close

_STATES = {
    "connecting": "Connecting… What you write waits.",
    "waiting": "Offline. What you write waits, and is sent when the network is back.",
}

CSS = """
#left { width: 34; border-right: solid $panel; }
#me { text-style: bold; padding: 0 1; height: 1; background: $panel; }
#list { height: 1fr; border: none; padding: 0; background: $background; }
#list > .option-list--option-highlighted { background: $primary 25%; color: $foreground; }
#list:focus > .option-list--option-highlighted { background: $primary 45%; }
#who { height: 1; background: $panel; }
#offline { display: none; height: auto; padding: 0 1; }
#offline { background: $warning; color: $background; }
#hint { display: none; height: 1; padding: 0 1; color: $text-warning; }
#nobody { height: 1fr; content-align: center middle; color: $foreground 70%; }
#who, #right > Talk, #right > Composer, .-open #nobody { display: none; }
.-open #who, .-open #right > Talk, .-open #right > Composer { display: block; }
.-offline #offline, .-editing #hint { display: block; }
.-narrow #left { width: 1fr; border: none; }
.-narrow #right, .-narrow.-talking #left { display: none; }
.-narrow.-talking #right { display: block; }
"""
"""How it looks. The application takes it: Textual does not read that of a first screen."""


class ChatScreen(Screen[None]):
    """On a narrow terminal it shows the list or, while `talking`, the open conversation."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (72, "-wide")]  # noqa: RUF012 (as Textual has it)

    class Ready(Message):
        """All parts are there."""

    def __init__(self, chat: Chat) -> None:
        super().__init__()
        self._chat = chat
        self.entries = OptionList(id="list", markup=False)
        self.talk = Talk()
        self.composer = Composer()
        self._who = Static(id="who")
        self._offline = Static(id="offline")

    def compose(self) -> ComposeResult:
        with Horizontal():
            with Vertical(id="left"):
                yield Static(Content(f" {self._chat.me}"), id="me")
                yield self.entries
            with Vertical(id="right"):
                yield Static("Enter opens a conversation, Ctrl-N begins one.", id="nobody")
                yield self._who
                yield self._offline
                yield self.talk
                yield Static(
                    "Editing: Enter changes the message, Esc leaves it as it is", id="hint"
                )
                yield self.composer
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        self.post_message(self.Ready())

    @property
    def talking(self) -> bool:
        """The open conversation is in sight."""
        return self._chat.current is not None and (
            self.has_class("-talking") or not self.has_class("-narrow")
        )

    def show_talk(self, is_: bool) -> None:
        """The open conversation, else the list."""
        self.set_class(is_, "-talking")
        (self.composer if is_ else self.entries).focus()

    def draw(self, now: int, editing: bool) -> None:
        """All of it. `editing`: the person changes a message."""
        self.draw_words(now, editing)
        current, talk = self._chat.current, self.talk
        if current is not None and talk.size.width:
            drawn = lines(current, talk.size.width, now, talk.selected)
            about = current.peer if current.messages else ""
            talk.show(about, drawn, current.new_after is not None)

    def draw_words(self, now: int, editing: bool) -> None:
        """All but the messages."""
        current = self._chat.current
        self._draw_list(self._chat.in_order(), now)
        if current is not None:
            self._who.update(heading(current, now))
        state = self._state()
        self._offline.update(Content(state))
        self.set_class(current is not None, "-open")
        self.set_class(bool(state), "-offline")
        self.set_class(editing, "-editing")

    def _draw_list(self, shown: list[Conversation], now: int) -> None:
        list_ = self.entries
        width = list_.scrollable_content_region.width - 2
        drawn = {one.peer: entry(one, width, now, one is self._chat.current) for one in shown}
        if [option.id for option in list_.options] == list(drawn):
            for option in list_.options:
                if option.prompt != drawn[option.id or ""]:
                    list_.replace_option_prompt(option.id or "", drawn[option.id or ""])
        else:
            at = list_.highlighted_option
            list_.set_options([Option(prompt, peer) for peer, prompt in drawn.items()])
            kept = at.id if at is not None and at.id in drawn else next(iter(drawn))
            list_.highlighted = list_.get_option_index(kept or "")
        current = self._chat.current
        if current is not None and current.peer in drawn and not list_.has_focus:
            list_.highlighted = list_.get_option_index(current.peer)

    def _state(self) -> str:
        """What a person should know of the connection; empty if all is well."""
        if self._chat.state != "stopped":
            return _STATES.get(self._chat.state, "")
        known = Close.of(self._chat.code)
        return f"Ended: {known.text if known else 'a fault'}. Ctrl-Q leaves."
