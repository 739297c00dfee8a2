"""What a device knows of its conversations, in one log (one numbering of messages): what was shown,
what is missing, who has received and read what. Pure; times are seconds of any one clock."""

from collections.abc import Callable, Iterator

from messenger_sdk.catching_up import CatchingUp
from messenger_sdk.events import MarksChanged, MessageReceived, received
from messenger_sdk.marks import MarkBook
from messenger_sdk.storage import LogBegun, Note, ReadUpTo, ShownUpTo, Stored
from messenger_sdk.timelines import Shown, Timelines
from schemas import frames

MAX_UNSHOWN = 1000
"""Messages that the application has not seen yet. While there are so many, the device asks for no
pages, and forgets a message that is pushed: a page brings it later."""

News = list[MessageReceived | MarksChanged]


class Inbox:
    """The inbox of `user`, in the log with the id `log`. `stored` is what it begins with, `jitter`
    from [0, 1), `ids` for the questions; `note` is called with what has to outlive the process."""

    def __init__(
        self,
        user: str,
        stored: Stored,
        jitter: Callable[[], float],
        ids: Iterator[int],
        note: Callable[[Note], None],
    ) -> None:
        self.log = stored.log
        self.timelines = Timelines(stored.shown, stored.begun)
        self.catching_up = CatchingUp(self.timelines, jitter, ids)
        self.marks = MarkBook(jitter, ids, stored.received, stored.read)
        self.marks.user = user
        self._note = note
        self._unshown: dict[tuple[str, int], MessageReceived] = {}
        self._cut: dict[str, dict[str, MarksChanged]] = {}
        """conversation → user → the last MarksChanged, where the mark goes beyond the last message
        that this device knows of."""

    # From the server

    def begin(self, now: float) -> None:
        """A new session."""
        self.catching_up.begin()
        self.marks.begin(self.timelines.cursors(), now)

    def resync(self, now: float) -> None:
        """Pushes may have been missed."""
        self.catching_up.sync()
        self.marks.begin(self.timelines.cursors(), now)

    def message(self, message: frames.Message) -> News:
        """A message was pushed, or is this device's own and has its number now."""
        shown = self.timelines.accept(message, len(self._unshown) < MAX_UNSHOWN)
        return self._show(message.conversation, shown)

    def page(self, page: frames.Page, now: float) -> News:
        return self._show(page.conversation, self.catching_up.page(page, now))

    def goes_on(self, conversation: str, seq: int) -> News:
        """There is a message that nobody pushes to this device."""
        self.timelines.heads({conversation: seq})
        return self._marks_of(conversation)

    def heads(self, heads: frames.Heads, now: float) -> News:
        begun = self.timelines.begun
        self.catching_up.heads(heads, now)
        self.marks.found(heads.heads, now)
        if self.timelines.begun and not begun:
            self._note(LogBegun(self.timelines.floors()))
        return [marks for conversation in heads.heads for marks in self._marks_of(conversation)]

    def gone(self, error: frames.Error, now: float) -> News | None:
        """An error has come. Returns what can be shown because of it; None if it answers no
        question of catching up."""
        shown = self.catching_up.error(error, now)
        return None if shown is None else self._show("", shown)

    def marks_changed(self, news: list[frames.Mark]) -> News:
        """Marks that are news to `marks`."""
        events: News = []
        for mark in news:
            known = self.marks.mark(mark.conversation, mark.user)
            event = self.mark(mark.conversation, mark.user)
            if (event.received, event.read) != (known.received, known.read):
                self._cut.setdefault(mark.conversation, {})[mark.user] = event
            events.append(event)
        return events

    # From the application

    def shown(self, message: MessageReceived) -> None:
        """The application has seen a message, and all before it."""
        place = message.conversation, message.seq
        if self._unshown.get(place) is not message:
            return  # of another log than this
        del self._unshown[place]
        own = message.sender == self.marks.user
        if not own:
            self.marks.received(*place)
        self._note(ShownUpTo(*place, own))

    def read(self, conversation: str, seq: int) -> None:
        """The person has read all up to `seq`."""
        self.marks.read(conversation, seq)
        self._note(ReadUpTo(conversation, seq))

    # What the application may ask

    @property
    def room(self) -> int:
        """How many messages the application may still be given."""
        return MAX_UNSHOWN - len(self._unshown)

    def mark(self, conversation: str, user: str) -> MarksChanged:
        """What a user has received and read: a mark is a claim of devices, so it counts as far as
        there are messages."""
        mark, head = self.marks.mark(conversation, user), self.timelines.head(conversation)
        seen, read = min(mark.received, head), min(mark.read, head)
        return MarksChanged(conversation, user, seen, mark.received_at, read, mark.read_at)

    def unread(self, conversation: str) -> int:
        return max(0, self.timelines.head(conversation) - self.marks.read_up_to(conversation))

    def _show(self, conversation: str, shown: list[Shown]) -> News:
        news: News = []
        for message, missing in shown:
            self.marks.shown(message)
            event = received(message, missing)
            self._unshown[event.conversation, event.seq] = event
            news.append(event)
        return news + self._marks_of(conversation)

    def _marks_of(self, conversation: str) -> News:
        """The marks of a conversation that say more now, because its messages have come."""
        cut = self._cut.pop(conversation, None)
        if cut is None:
            return []
        raised = [user for user, event in cut.items() if self.mark(conversation, user) != event]
        if len(raised) < len(cut):
            self._cut[conversation] = {
                user: event for user, event in cut.items() if user not in raised
            }
        return self.marks_changed([self.marks.mark(conversation, user) for user in raised])
