"""`messenger chat` on the screen: it draws a `Chat`, and tells the SDK's client what a person
does."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import ClassVar

from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.css.query import NoMatches
from textual.screen import Screen
from textual.widgets import Footer, OptionList, Static
from textual.widgets.option_list import Option

from messenger_sdk import (
    Client,
    HistoryRefused,
    MessageReceived,
    MessengerError,
    SentMessage,
    StateChanged,
)
from ops.chat.bubbles import lines
from ops.chat.composer import Composer
from ops.chat.dialogs import Ask, Help, Whom
from ops.chat.entries import entry, heading
from ops.chat.listing import Listed
from ops.chat.state import Chat, Conversation, Message
from ops.chat.talk import Talk
from ops.chat.words import plain
from schemas.codes import Close

_PAGE = 50
"""Messages that are asked for at once."""
_AGAIN_SECONDS = 5.0
"""Before the list is asked for again."""
_TICK_SECONDS = 1.0
"""How soon the screen shows that a time has passed."""
_STATES = {
    "connecting": "Connecting… What you write waits.",
    "waiting": "Offline. What you write waits, and is sent when the network is back.",
}
_THEMES = ("textual-dark", "textual-light")


class ChatApp(App[None]):
    """`listing` gives the last conversations, or raises ConnectionError; `peer` is whose
    conversation is opened first; `now` is the time in ms."""

    TITLE = "messenger"
    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (72, "-wide")]  # noqa: RUF012 (as Textual has it)
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
    .dialog {
        width: 74; max-width: 94%; height: auto; max-height: 90%; padding: 1 2;
        border: round $primary; background: $surface;
    }
    .keys, #problem { margin-top: 1; color: $foreground 70%; }
    ModalScreen { align: center middle; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1", "help", "Help"),
        Binding("ctrl+n", "talk", "Talk to", priority=True),
        Binding("alt+up", "step(-1)", show=False, priority=True),
        Binding("alt+down", "step(1)", show=False, priority=True),
        Binding("escape", "list", "List"),
        Binding("ctrl+b", "block", "Block", priority=True),
        Binding("ctrl+t", "turn", "Dark/light", priority=True),
        Binding("ctrl+q", "quit", "Leave", priority=True),
    ]

    def __init__(
        self,
        me: str,
        client: Client,
        listing: Callable[[], Awaitable[Sequence[Listed]]],
        now: Callable[[], int],
        peer: str | None = None,
        light: bool = False,
    ) -> None:
        super().__init__()
        self.theme = _THEMES[light]
        self.chat = Chat(me)
        self._client = client
        self._listing = listing
        self._now = now
        self._first = peer
        self._editing: Message | None = None
        self._due = False
        """The screen will be drawn soon."""
        self._listed = False
        self._loading: set[str] = set()
        """Peers of whose conversation a page is asked for."""
        self._watched: set[str] = set()

    def compose(self) -> ComposeResult:
        with Horizontal():
            with Vertical(id="left"):
                yield Static(Content(f" {self.chat.me}"), id="me")
                yield OptionList(id="list", markup=False)
            with Vertical(id="right"):
                yield Static("Enter opens a conversation, Ctrl-N begins one.", id="nobody")
                yield Static(id="who")
                yield Static(id="offline")
                yield Talk()
                yield Static(id="hint")
                yield Composer()
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        for saved in self._client.device.unanswered():
            self.chat.submitted(saved.to, saved.key, saved.body, saved.changes, self._now())
        if self._first is not None:
            self._open(self._first)
        else:
            self._main.query_one(OptionList).focus()
        self._listen()
        self._follow_people()
        self.set_interval(_TICK_SECONDS, self._tick)
        self._draw()

    # What happens

    @work
    async def _listen(self) -> None:
        try:
            async for event in self._client:
                self.chat.happened(event, self._now())
                if isinstance(event, StateChanged) and event.state == "online":
                    self._list()
                if isinstance(event, MessageReceived) and event.sender != self.chat.me:
                    self._ring(event)
                self._soon()
        except MessengerError as error:
            self.notify(str(error), severity="error", markup=False, timeout=60)

    def _ring(self, event: MessageReceived) -> None:
        current = self.chat.current
        if not self.app_focus or current is None or current.id != event.conversation:
            self.bell()

    @work(exclusive=True, group="people")
    async def _follow_people(self) -> None:
        try:
            for user in await self._client.blocked():
                self.chat.with_(user).blocked = True
        except MessengerError:
            return  # the line about the state says it
        self._soon()

    @work(exclusive=True, group="list")
    async def _list(self) -> None:
        if self._listed:
            return
        try:
            listed = await self._listing()
        except ConnectionError:
            self.set_timer(_AGAIN_SECONDS, self._list)
            return
        self._listed = True
        for one in listed:
            last = one.last
            self.chat.listed(
                one.conversation,
                one.seq,
                Message(last.sender, last.body, last.time, last.seq, erased=last.erased)
                if last
                else None,
            )
        self._soon()

    @work
    async def _load(self, conversation: Conversation) -> None:
        """The page before the first message that is here."""
        peer = conversation.peer
        if peer in self._loading or conversation.whole or conversation.deep:
            return
        self._loading.add(peer)
        before = conversation.numbered[0].seq if conversation.numbered else None
        try:
            page = await self._client.history(conversation.id, before=before, limit=_PAGE)
            conversation.page(page)
        except HistoryRefused:
            conversation.whole = True
        except MessengerError:
            return  # the client has stopped, and the line about the state says it
        finally:
            self._loading.discard(peer)
        self._soon()

    # What a person does

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        if event.option.id is not None:
            self._open(event.option.id)

    def on_talk_top(self) -> None:
        if self.chat.current is not None:
            self._load(self.chat.current)

    def on_talk_stale(self) -> None:
        self._draw()

    def on_talk_seen(self, event: Talk.Seen) -> None:
        current = self.chat.current
        hidden = self._main.has_class("-narrow") and not self._main.has_class("-talking")
        if current is None or hidden or not self.app_focus:
            return
        read = current.look_at(event.seq)
        if read:
            with suppress(MessengerError):  # the line about the state says it
                self._client.read(current.id, read)
            self._soon()

    def on_app_focus(self) -> None:
        self._draw()

    def on_text_area_changed(self) -> None:
        current, text = self.chat.current, self._composer.text
        if current is None or self._editing is not None or text == current.draft:
            return
        current.draft = text
        if text:
            self._client.typing(current.id)
        self._soon()

    def on_composer_sent(self) -> None:
        text, current = self._composer.text, self.chat.current
        if current is None or not text.strip():
            return
        editing = self._editing
        try:
            if editing is None:
                self._follow(current.peer, text, 0, self._client.submit(current.peer, text))
            else:
                changed = self._client.edit(current.peer, editing.seq, text)
                self._follow(current.peer, text, editing.seq, changed)
        except MessengerError as error:
            self.notify(str(error), severity="error", markup=False)
            return
        current.draft = current.draft if editing else ""
        self._end_edit()
        self._talk.scroll_end(animate=False, immediate=True)

    def _follow(self, to: str, body: str, changes: int, sent: "Awaitable[SentMessage]") -> None:
        """Show a send until it has its answer."""
        key = next(one.key for one in reversed(self._client.device.unanswered()) if one.to == to)
        self.chat.submitted(to, key, body, changes, self._now())
        self._wait(to, key, sent)
        self._soon()

    @work
    async def _wait(self, to: str, key: str, sent: "Awaitable[SentMessage]") -> None:
        try:
            await sent
        except MessengerError as error:
            self.chat.failed(to, key, str(error))
            self._soon()

    def action_write(self) -> None:
        self._composer.focus()

    async def action_choose_last(self) -> None:
        self._talk.focus()
        await self._talk.action_select(-1)

    def action_page(self, step: int) -> None:
        self._talk.scroll_relative(y=step * (self._talk.size.height - 2), animate=False)

    def action_help(self) -> None:
        self.push_screen(Help())

    def action_turn(self) -> None:
        self.theme = _THEMES[self.theme == _THEMES[0]]

    @work
    async def action_talk(self) -> None:
        peer = await self.push_screen_wait(Whom(self.chat.me))
        if peer:
            self._open(peer)

    def action_step(self, step: int) -> None:
        shown = self.chat.in_order()
        if shown:
            at = shown.index(self.chat.current) if self.chat.current in shown else -1
            self._open(shown[max(0, min(len(shown) - 1, at + step))].peer)

    def action_list(self) -> None:
        if self._editing is not None:
            self._end_edit()
        elif self._talk.selected:
            self._talk.choose(0)
            self.action_write()
        else:
            self._main.remove_class("-talking")
            self._main.query_one(OptionList).focus()

    def action_edit(self) -> None:
        message = self._mine()
        if message is not None:
            self._editing = message
            self._composer.text = message.body
            self._composer.move_cursor(self._composer.document.end)
            self._composer.focus()
            self._draw()

    @work
    async def action_delete(self) -> None:
        message, current = self._mine(), self.chat.current
        if message is None or current is None:
            return
        if await self.push_screen_wait(Ask("Delete this message for everybody?")):
            try:
                deleted = self._client.delete(current.peer, message.seq)
                self._follow(current.peer, "", message.seq, deleted)
            except MessengerError as error:
                self.notify(str(error), severity="error", markup=False)
            self._talk.choose(0)

    def action_copy(self) -> None:
        message = self._chosen()
        if message is not None:
            self.copy_to_clipboard(plain(message.body))
            self.notify("Copied", timeout=2)

    @work
    async def action_block(self) -> None:
        current = self.chat.current
        if current is None:
            return
        peer = current.peer
        try:
            if current.blocked:
                await self._client.unblock(peer)
            elif await self.push_screen_wait(
                Ask(f"Block {peer}? They cannot write to you, nor see whether you are there.")
            ):
                await self._client.block(peer)
        except MessengerError as error:
            self.notify(str(error), severity="error", markup=False)

    async def action_quit(self) -> None:
        self._leave()

    @work
    async def _leave(self) -> None:
        waiting = len(self._client.device.unanswered())
        if not waiting or await self.push_screen_wait(Ask(f"Leave? {waiting} not sent yet.")):
            self.exit()

    def _open(self, peer: str) -> None:
        if self.chat.current is not None:
            self._end_edit()
        current = self.chat.open(peer, self._now())
        self._main.add_class("-talking")
        self._composer.placeholder = f"Write to {peer}"
        self._composer.text = current.draft
        self._composer.move_cursor(self._composer.document.end)
        self._composer.focus()
        if len(current.numbered) < _PAGE:
            self._load(current)
        self._draw()

    def _end_edit(self) -> None:
        self._editing = None
        self._talk.choose(0)
        self._composer.text = self.chat.current.draft if self.chat.current else ""

    def _chosen(self) -> Message | None:
        current = self.chat.current
        selected = self._talk.selected
        return current.find(selected) if current and isinstance(selected, int) else None

    def _mine(self) -> Message | None:
        """The chosen message, if it is one's own and has a text."""
        message = self._chosen()
        if message is None or message.sender != self.chat.me or message.erased:
            self.notify("Only a message of your own can be changed.", timeout=3)
            return None
        return message

    # What is drawn

    @property
    def _main(self) -> Screen[object]:
        """The screen below any question."""
        return self.screen_stack[0]

    @property
    def _talk(self) -> Talk:
        return self._main.query_one(Talk)

    @property
    def _composer(self) -> Composer:
        return self._main.query_one(Composer)

    def _soon(self) -> None:
        """Draw when all that has come is taken."""
        if not self._due:
            self._due = True
            self.call_later(self._draw)

    def _draw(self) -> None:
        self._due = False
        with suppress(NoMatches):  # the screen is being taken apart
            self._draw_words()
            self._draw_talk()

    def _tick(self) -> None:
        with suppress(NoMatches):
            self._draw_words()

    def _draw_talk(self) -> None:
        current, talk = self.chat.current, self._talk
        if current is not None and talk.size.width:
            drawn = lines(current, talk.size.width, self._now(), talk.selected)
            about = current.peer if current.messages else ""
            talk.show(about, drawn, current.new_after is not None)

    def _draw_words(self) -> None:
        """All but the messages."""
        main, now, current = self._main, self._now(), self.chat.current
        shown = self.chat.in_order()
        self._draw_list(shown, now)
        main.set_class(current is not None, "-open")
        if current is not None:
            main.query_one("#who", Static).update(heading(current, now))
        state = self._state()
        main.query_one("#offline", Static).update(Content(state))
        main.set_class(bool(state), "-offline")
        below = "Editing: Enter changes the message, Esc leaves it as it is"
        main.query_one("#hint", Static).update(Content(below))
        main.set_class(self._editing is not None, "-editing")
        watched = {one.peer for one in shown} | ({current.peer} if current else set())
        if watched != self._watched:
            self._watched = watched
            first = [current.peer] if current else []
            self._client.watch([*first, *(one.peer for one in shown)])

    def _draw_list(self, shown: list[Conversation], now: int) -> None:
        list_ = self._main.query_one(OptionList)
        width = list_.scrollable_content_region.width - 2
        drawn = {one.peer: entry(one, width, now, one is self.chat.current) for one in shown}
        if [option.id for option in list_.options] == list(drawn):
            for option in list_.options:
                if option.prompt != drawn[option.id or ""]:
                    list_.replace_option_prompt(option.id or "", drawn[option.id or ""])
            return
        at = list_.highlighted_option
        list_.set_options([Option(prompt, peer) for peer, prompt in drawn.items()])
        if drawn:
            kept = at is not None and at.id in drawn
            list_.highlighted = list(drawn).index(at.id) if at and at.id and kept else 0

    def _state(self) -> str:
        """What a person should know of the connection; empty if all is well."""
        if self.chat.state != "stopped":
            return _STATES.get(self.chat.state, "")
        known = Close.of(self.chat.code)
        return f"Ended: {known.text if known else 'a fault'}. Ctrl-Q leaves."
