"""`messenger chat`: it hands the SDK's events to a `Chat`, and what a person does to the client."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import ClassVar

from textual import events, work
from textual.app import App
from textual.binding import Binding, BindingType
from textual.widgets import OptionList

from messenger_sdk import Client, MessageReceived, MessengerError
from ops.chat import dialogs, screen
from ops.chat.composer import Composer
from ops.chat.dialogs import Ask, Help, Whom
from ops.chat.feed import Feed
from ops.chat.listing import Listed
from ops.chat.screen import ChatScreen
from ops.chat.state import Chat, Message
from ops.chat.talk import Talk
from ops.chat.words import plain

_FEW = 50
"""Messages: of fewer an older page is asked for when the conversation is opened."""
_TICK_SECONDS = 1.0
"""How soon the screen shows that a time has passed."""
_THEMES = ("textual-dark", "textual-light")


class ChatApp(App[None]):
    """`listing` gives the last conversations, or raises ConnectionError; `peer` is whose
    conversation is opened first; `now` is the time in ms."""

    TITLE = "messenger"
    ENABLE_COMMAND_PALETTE = False
    CSS = screen.CSS + dialogs.CSS
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
        self._feed = Feed(self.chat, client, listing, now, self._soon, self._ring)
        self._now = now
        self._first = peer
        self._main: ChatScreen
        self._editing: Message | None = None
        self._due = False
        """The screen will be drawn soon."""
        self._early: list[events.Event] | None = []
        """What a person has typed before something on the screen could take it; None after."""

    def get_default_screen(self) -> ChatScreen:
        self._main = ChatScreen(self.chat)
        return self._main

    def on_chat_screen_ready(self) -> None:
        if self._first is not None:
            self._open(self._first)
        else:
            self._main.entries.focus()
        self.call_later(self._take_early)  # after what has the focus
        self._listen()
        self.set_interval(_TICK_SECONDS, self._tick)

    async def on_event(self, event: events.Event) -> None:
        if self._early is not None and isinstance(event, events.Key | events.Paste):
            self._early.append(event)
        else:
            await super().on_event(event)

    async def _take_early(self) -> None:
        early, self._early = self._early or [], None
        for event in early:
            await self.on_event(event)

    @work
    async def _listen(self) -> None:
        try:
            await self._feed.run()
        except MessengerError as error:
            self._complain(error)

    def _ring(self, event: MessageReceived) -> None:
        current = self.chat.current
        if not self.app_focus or current is None or current.id != event.conversation:
            self.bell()

    def _complain(self, error: MessengerError) -> None:
        self.notify(str(error), severity="error", markup=False)

    # What a person does

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        if event.option.id is not None:
            self._open(event.option.id)

    def on_talk_top(self) -> None:
        if self.chat.current is not None:
            self.run_worker(self._feed.load(self.chat.current))

    def on_talk_stale(self) -> None:
        self._draw()

    def on_talk_seen(self, event: Talk.Seen) -> None:
        current = self.chat.current
        if current is None or not self._main.talking or not self.app_focus:
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
        try:
            changes = self._editing.seq if self._editing else 0
            self.run_worker(self._feed.write(current.peer, text, changes))
        except MessengerError as error:
            self._complain(error)
            return
        if not changes:
            current.draft = ""
        self._end_edit()
        self._talk.scroll_end(animate=False, immediate=True)

    def action_write(self) -> None:
        self._composer.focus()

    async def action_choose_last(self) -> None:
        self._talk.focus()
        await self._talk.action_select(-1)

    def action_page(self, step: int) -> None:
        rows = step * (self._talk.size.height - 2)
        self._talk.scroll_relative(y=rows, animate=False, immediate=True)

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
            self._main.show_talk(False)

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
                self.run_worker(self._feed.write(current.peer, "", message.seq))
            except MessengerError as error:
                self._complain(error)
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
            self._complain(error)

    async def action_quit(self) -> None:
        self._leave()

    @work
    async def _leave(self) -> None:
        waiting = len(self._client.device.unanswered())
        if not waiting or await self.push_screen_wait(Ask(f"Leave? {waiting} not sent yet.")):
            self.exit()

    def _open(self, peer: str) -> None:
        before = self.chat.current
        if before is not None:
            before.draft = before.draft if self._editing else self._composer.text
            self._end_edit()
        current = self.chat.open(peer, self._now())
        self._main.show_talk(True)
        self._composer.placeholder = f"Write to {peer}"
        self._composer.text = current.draft
        self._composer.move_cursor(self._composer.document.end)
        if len(current.numbered) < _FEW:
            self.run_worker(self._feed.load(current))
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
    def _talk(self) -> Talk:
        return self._main.talk

    @property
    def _composer(self) -> Composer:
        return self._main.composer

    def _soon(self) -> None:
        """Draw when all that has come is taken."""
        if not self._due:
            self._due = True
            self.call_later(self._draw)

    def _draw(self) -> None:
        self._due = False
        self._main.draw(self._now(), self._editing is not None)
        self._feed.watch()

    def _tick(self) -> None:
        self._main.draw_words(self._now(), self._editing is not None)
