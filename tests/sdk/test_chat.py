"""`messenger chat` on a screen in memory, with a gateway in memory: what a person does and sees."""

import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import msgspec
from textual.pilot import Pilot
from textual.widgets import OptionList, Static

from ops.chat.app import ChatApp
from ops.chat.composer import Composer
from ops.chat.listing import Listed
from ops.chat.talk import Talk
from schemas import frames
from tests.harness.fake_gateway import FakeGateway, Line
from tests.harness.terminal import terminal
from tests.sdk.devices import A, B, client

_SECONDS = 60.0


class Server:
    """What the gateway knows: bob's conversation with alice is the longer, carol's the newer."""

    def __init__(self, count: int = 3) -> None:
        now = int(time.time() * 1000)
        self.said = [
            frames.Message(
                A, seq, "bob", f"{seq:032x}", now - 1000 * (count - seq + 60), f"line {seq}"
            )
            for seq in range(1, count + 1)
        ]
        self.carol = frames.Message(B, 1, "carol", "c" * 32, now, "[bold]hi[/] \x1b[2J")
        self.heard: list[frames.Command] = []
        self.line: Line

    async def script(self, line: Line) -> None:
        self.line = line
        await line.welcome()
        while True:
            frame = await line._receive()
            self.heard.append(frame)
            match frame:
                case frames.Sync():
                    heads = {A: len(self.said), B: 1}
                    line.say(frames.Heads(frame.id, heads, "", False))
                case frames.GetMarks():
                    line.say(frames.Marks(frame.id, [frames.Mark(A, "alice", 1, 1, 1, 1)], False))
                case frames.Watch():
                    there = [frames.Presence("carol", True, 0)]
                    line.say(frames.Presences(frame.id, there, False))
                case frames.GetPeople():
                    line.say(frames.People(frame.id, []))
                case frames.History():
                    line.say(self._page(frame))
                case frames.Send() | frames.Edit() | frames.Delete():
                    self._take(line, frame)

    def _page(self, asked: frames.History) -> frames.Page:
        said = self.said if asked.conversation == A else [self.carol]
        below = [one for one in said if one.seq < (asked.before or 10**9)][-asked.limit :]
        first = not below or below[0].seq == 1
        return frames.Page(asked.id, asked.conversation, len(said), below, first=first)

    def _take(self, line: Line, send: frames.Send | frames.Edit | frames.Delete) -> None:
        seq = len(self.said) + 1
        now = int(time.time() * 1000)
        body = getattr(send, "body", "")
        changes = getattr(send, "seq", 0)
        self.said.append(frames.Message(A, seq, "alice", send.key, now, body, changes=changes))
        line.say(frames.Sent(A, send.outbox, send.ordinal, send.key, seq, now))

    async def listing(self) -> Sequence[Listed]:
        return [Listed(A, len(self.said), self.said[-1]), Listed(B, 1, self.carol)]

    def told(self, kind: type[msgspec.Struct]) -> list[frames.Command]:
        return [one for one in self.heard if isinstance(one, kind)]


class Screen:
    """What a person sees."""

    def __init__(self, app: ChatApp, pilot: Pilot[None]) -> None:
        self.app = app
        self.pilot = pilot
        self._main = app.screen

    @property
    def entries(self) -> list[str]:
        return [str(one.prompt) for one in self._main.query_one(OptionList).options]

    @property
    def rows(self) -> list[str]:
        """Of the open conversation."""
        talk = self._main.query_one(Talk)
        return [talk.render_line(y).text.strip() for y in range(talk.size.height)]

    @property
    def talk(self) -> str:
        return "\n".join(self.rows)

    def words(self, place: str) -> str:
        found = self._main.query_one(place, Static)
        return str(found.content) if found.region.height else ""

    @property
    def written(self) -> str:
        return self._main.query_one(Composer).text

    async def until(self, holds: Callable[[], object]) -> None:
        end = time.monotonic() + _SECONDS
        while not holds():
            assert time.monotonic() < end, f"{self.entries}\n{self.talk}\n{self.words('#offline')}"
            await self.pilot.pause(0.02)

    async def write(self, text: str) -> None:
        await self.pilot.press(*("space" if letter == " " else letter for letter in text))


@asynccontextmanager
async def chatting(
    server: Server, peer: str | None = "bob", size: tuple[int, int] = (100, 30)
) -> AsyncIterator[Screen]:
    async with FakeGateway(server.script) as gateway, client(gateway) as device:
        app = ChatApp("alice", device, server.listing, lambda: int(time.time() * 1000), peer)
        async with app.run_test(size=size) as pilot:
            yield Screen(app, pilot)
        await device.close()


async def test_the_list_and_what_is_read() -> None:
    server = Server()
    async with chatting(server, peer=None) as screen:
        await screen.until(lambda: len(screen.entries) == 2 and "●" in screen.entries[0])
        assert "carol" in screen.entries[0]
        assert "[bold]hi[/] �[2J" in screen.entries[0], (
            "text from others is no markup and steers nothing"
        )
        await screen.until(lambda: "line 3" in screen.entries[1] and " 2 " in screen.entries[1])
        assert not server.told(frames.Read)
        await screen.pilot.press("end", "enter")
        await screen.until(lambda: "line 3" in screen.talk and server.told(frames.Read))
        assert "New messages" in screen.talk
        await screen.until(lambda: " 2 " not in screen.entries[1])
        await screen.pilot.press("alt+up")
        await screen.until(lambda: "[bold]hi[/] �[2J" in screen.talk)
        await screen.pilot.press("f1")
        await screen.until(lambda: len(screen.app.screen_stack) == 2)


async def test_what_is_written_offline_waits_and_is_sent() -> None:
    server = Server()
    async with chatting(server) as screen:
        await screen.until(lambda: "line 3" in screen.talk)
        assert not screen.words("#offline")
        sent = server._take
        server._take = lambda line, send: line.drop()  # type: ignore[method-assign]
        await screen.write("are you there")
        await screen.until(lambda: server.told(frames.Typing))
        await screen.pilot.press("enter")
        await screen.until(lambda: screen.words("#offline") and "… waiting" in screen.talk)
        assert "are you there" in screen.talk
        server._take = sent  # type: ignore[method-assign]
        await screen.until(lambda: "✓ sent" in screen.talk and not screen.words("#offline"))
        server.line.say(frames.Mark(A, "bob", 4, 1, 4, 1))
        await screen.until(lambda: "✓✓ read" in screen.talk)


async def test_scrolling_back_loads_older_messages_and_nothing_jumps() -> None:
    server = Server(160)
    async with chatting(server) as screen:
        await screen.until(lambda: "line 160" in screen.talk)
        while len(server.told(frames.History)) < 2:
            await screen.pilot.press("pageup")
            before = screen.rows
        await screen.until(lambda: screen.app.chat.conversations["bob"].numbered[0].seq <= 61)
        await screen.pilot.pause()
        kept = [row for row in before if row.startswith("line")]
        assert [row for row in screen.rows if row.startswith("line")] == kept
        server.line.say(
            frames.Message(A, 161, "bob", "b" * 32, int(time.time() * 1000), "the newest")
        )
        await screen.until(lambda: "the newest" in screen.entries[0])
        assert [row for row in screen.rows if row.startswith("line")] == kept, "nor does news"
        await screen.pilot.resize_terminal(100, 150)  # a screen that they do not fill
        await screen.until(lambda: screen.app.chat.conversations["bob"].numbered[0].seq <= 11)


async def test_drafts_stay_with_their_conversation() -> None:
    async with chatting(Server()) as screen:
        await screen.until(lambda: len(screen.entries) == 2)
        await screen.write("half a th")
        await screen.pilot.press("alt+up")
        await screen.until(lambda: screen.written == "")
        assert "Draft: half a th" in screen.entries[1]
        await screen.pilot.press("alt+down")
        await screen.until(lambda: screen.written == "half a th")


async def test_an_own_message_is_edited_and_deleted() -> None:
    server = Server()
    async with chatting(server) as screen:
        await screen.until(lambda: "line 3" in screen.talk)
        await screen.write("helo")
        await screen.pilot.press("enter")
        await screen.until(lambda: "✓ sent" in screen.talk)
        await screen.pilot.press("up", "e", "backspace", "l", "o", "enter")
        await screen.until(lambda: "hello" in screen.talk and "edited" in screen.talk)
        await screen.pilot.press("up", "d", "y")
        await screen.until(lambda: "deleted" in screen.talk and "hello" not in screen.talk)
        (edit,), (delete,) = server.told(frames.Edit), server.told(frames.Delete)
        assert (edit.seq, edit.body, delete.seq) == (4, "hello", 4)  # type: ignore[union-attr]


async def test_a_narrow_screen_shows_the_list_or_a_conversation() -> None:
    async with chatting(Server(), size=(50, 20)) as screen:
        list_ = screen.app.query_one(OptionList)
        await screen.until(lambda: "line 3" in screen.talk and not list_.region.width)
        await screen.pilot.press("escape")
        await screen.until(lambda: list_.region.width == 50)
        await screen.pilot.resize_terminal(100, 20)
        await screen.until(lambda: 0 < list_.region.width < 50)


def test_textual_is_loaded_only_when_somebody_chats() -> None:
    look = "import sys, ops.commands.chat; sys.exit('textual' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", look]).returncode == 0


async def test_what_is_typed_before_the_screen_is_there_is_not_lost() -> None:
    """Keys that came before something had the focus were dropped for more than a second."""
    words = "chat", "alice", "--with", "bob", "--token", "none", "--url", "http://127.0.0.1:1"
    with terminal(os.environ, *words) as tty:
        tty.press("good morning")
        await tty.until(lambda: "│ good morning" in tty.text)  # framed: it stands in its line
