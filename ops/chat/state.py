"""What `messenger chat` shows, made of the SDK's events. Pure: times are ms since 1970, `now` is
one of them."""

from typing import NamedTuple

from messenger_sdk import (
    Event,
    HistoryPage,
    MarksChanged,
    MessageReceived,
    PersonChanged,
    PresenceChanged,
    SendFailed,
    StateChanged,
    Typing,
)
from schemas.ids import conversation_of, members_of, user_id

KEPT = 1000
"""Messages of a conversation; the oldest leaves when another comes, unless a person has scrolled
back to it."""
SCROLLED = 10_000
"""Messages of a conversation to which a person can scroll back."""
LISTED = 200
"""Conversations in the list, and users whose presence is watched."""
TYPING_MS = 6000
"""How long a typing event holds."""


class Message(NamedTuple):
    """`seq` 0: it has no number yet. `note`: what else a person should know of it."""

    sender: str
    body: str
    time: int
    seq: int = 0
    key: str = ""
    erased: bool = False
    changes: int = 0
    version: int = 0
    missing: int = 0
    note: str = ""


def numbered(received: MessageReceived) -> Message:
    """A message as the SDK gives it."""
    return Message(
        received.sender,
        received.body,
        received.time,
        received.seq,
        received.key,
        received.erased,
        received.changes,
        received.version,
        received.missing,
    )


class Conversation:
    """Of `me` with `peer`."""

    def __init__(self, me: str, peer: str) -> None:
        self.me = me
        self.peer = peer
        self.id = conversation_of(user_id(me), user_id(peer))
        self.numbered: list[Message] = []
        """By number and without a hole, changes included."""
        self.unsent: dict[str, Message] = {}
        """By the key of the send, in order; those that have failed included."""
        self.changing: dict[str, int] = {}
        """Key of a change that has no answer → number of the message that it changes."""
        self.listed: Message | None = None
        """The last message, as the server lists it."""
        self.head = 0
        self.read = 0
        """Up to which number `me` has read; `seen` and `got` are what `peer` has."""
        self.seen = 0
        self.got = 0
        self.whole = False
        """Nothing is kept before the first of `numbered`."""
        self.room = KEPT
        self.new_after: int | None = None
        """After this number stands the line "New messages"."""
        self.draft = ""
        self.blocked = False
        self.here = False
        self.last_seen = 0
        self.typing_until = 0
        self.changed = 0
        """When it was last written in; `opened` is when a person looked at it first."""
        self.opened = 0

    @property
    def messages(self) -> list[Message]:
        """Those that a person sees, in order."""
        return [*(one for one in self.numbered if not one.changes), *self.unsent.values()]

    @property
    def last(self) -> Message | None:
        """The last one that is known."""
        return next(reversed(self.messages), self.listed)

    @property
    def unread(self) -> int:
        return max(0, self.head - self.read)

    @property
    def deep(self) -> bool:
        """A person has scrolled back as far as this screen goes."""
        return len(self.numbered) >= SCROLLED

    def find(self, seq: int) -> Message | None:
        return next((one for one in self.numbered if one.seq == seq), None)

    def received(self, message: Message) -> None:
        self.unsent.pop(message.key, None)
        self.changing.pop(message.key, None)
        if message.sender == self.me:
            self.read = max(self.read, message.seq)
        else:
            self.typing_until = 0
        self._put([message])
        self._change(message)
        self.changed = max(self.changed, message.time)
        self.head = max(self.head, message.seq)
        if len(self.numbered) > self.room:
            del self.numbered[0]
            self.whole = False

    def page(self, page: HistoryPage) -> None:
        """The newest messages, or those before the first that is here."""
        self._put([numbered(message) for message in page.messages])
        self.room = max(KEPT, len(self.numbered))
        self.whole = self.whole or page.first or not page.messages
        self.head = max(self.head, page.known)
        last = self.last
        self.changed = max(self.changed, last.time if last else 0)

    def marks(self, marks: MarksChanged) -> None:
        if marks.user == self.me:
            self.read = max(self.read, marks.read)
        else:
            self.got, self.seen = max(self.got, marks.received), max(self.seen, marks.read)

    def look_at(self, seq: int) -> int:
        """A person sees all up to this message; the number up to which they have read because of
        it, 0 if that is no news."""
        shown = [one.seq for one in self.numbered if not one.changes]
        if shown and seq >= shown[-1]:
            seq = self.numbered[-1].seq  # changes after it are in sight, too
        if seq <= self.read:
            return 0
        self.read = seq
        return seq

    def _put(self, messages: list[Message]) -> None:
        merged = {one.seq: one for one in self.numbered}
        for message in messages:
            merged[message.seq] = _later(message, merged.get(message.seq, message))
        self.numbered = sorted(merged.values(), key=lambda one: one.seq)

    def _change(self, change: Message) -> None:
        """A message has another text, or none. A deletion is final."""
        index = next((n for n, one in enumerate(self.numbered) if one.seq == change.changes), None)
        if change.changes and index is not None:
            self.numbered[index] = _changed(self.numbered[index], change)
        if change.changes and self.listed and self.listed.seq == change.changes:
            self.listed = _changed(self.listed, change)


class Chat:
    """All conversations of a user."""

    def __init__(self, me: str) -> None:
        self.me = user_id(me)
        self.conversations: dict[str, Conversation] = {}
        """By peer."""
        self.current: Conversation | None = None
        self.state = "connecting"
        """As StateChanged has it; `code` is the close code that led to it."""
        self.code = 0

    def with_(self, peer: str) -> Conversation:
        """Raises InvalidId."""
        if peer not in self.conversations:
            self.conversations[peer] = Conversation(self.me, peer)
        return self.conversations[peer]

    def in_order(self) -> list[Conversation]:
        """Last written first."""
        latest = sorted(self.conversations.values(), key=lambda one: -(one.changed or one.opened))
        return latest[:LISTED]

    def open(self, peer: str, now: int) -> Conversation:
        """A person looks at a conversation. Raises InvalidId."""
        conversation = self.current = self.with_(peer)
        conversation.opened = conversation.opened or now
        conversation.new_after = conversation.read if conversation.unread else None
        return conversation

    def happened(self, event: Event, now: int) -> None:
        match event:
            case MessageReceived():
                self._of(event.conversation).received(numbered(event))
            case MarksChanged():
                self._of(event.conversation).marks(event)
            case StateChanged():
                self.state, self.code = event.state, event.code
            case PresenceChanged() if event.user in self.conversations:
                conversation = self.conversations[event.user]
                conversation.here, conversation.last_seen = event.online, event.last_seen
            case Typing():
                self._of(event.conversation).typing_until = now + TYPING_MS
            case PersonChanged():
                self.with_(event.user).blocked = event.blocked
            case SendFailed():
                self.failed(event.to, event.key, str(event.error))

    def listed(self, conversation: str, head: int, last: Message | None) -> None:
        """What the server says of a conversation: its last number and message."""
        one = self._of(conversation)
        one.head, one.listed = max(one.head, head), last
        if last:
            one.changed = max(one.changed, last.time)
            if last.sender == self.me:
                one.read = max(one.read, last.seq)

    def submitted(self, to: str, key: str, body: str, changes: int, now: int) -> None:
        """A send waits for its answer."""
        conversation = self.with_(to)
        if changes:
            conversation.changing[key] = changes
        else:
            conversation.unsent[key] = Message(self.me, body, now, key=key)
            conversation.changed = now

    def failed(self, to: str, key: str, reason: str) -> None:
        """A send will not be."""
        conversation = self.with_(to)
        changes = conversation.changing.pop(key, 0)
        if key in conversation.unsent:
            refused = conversation.unsent[key]._replace(note=f"not sent: {reason}")
            conversation.unsent[key] = refused
        for index, message in enumerate(conversation.numbered):
            if changes and message.seq == changes:
                conversation.numbered[index] = message._replace(note=f"not changed: {reason}")

    def _of(self, conversation: str) -> Conversation:
        first, second = members_of(conversation)
        return self.with_(second if first == self.me else first)


def _later(one: Message, other: Message) -> Message:
    """Of two versions of a message the one that counts."""
    return max(one, other, key=lambda message: (message.erased, message.version))


def _changed(message: Message, change: Message) -> Message:
    new = message._replace(body=change.body, erased=change.erased, version=change.version, note="")
    return _later(message, new)
