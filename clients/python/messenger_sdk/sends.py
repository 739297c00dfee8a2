"""What a device sends: the outbox, and the look-ups of sends that the server no longer knows. Pure;
times are seconds of any one clock."""

from collections.abc import Callable

from messenger_sdk.errors import SendRefused, SendUnknown
from messenger_sdk.events import HistoryEnded
from messenger_sdk.history import History
from messenger_sdk.look_ups import LookUps
from messenger_sdk.outbox import Outbox, SendEnded, Sending, SentMessage
from messenger_sdk.storage import Change, SavedSend, Stored
from schemas import frames
from schemas.codes import Code
from schemas.ids import UserId, conversation_of, members_of_valid, user_id


class Sends:
    """The sends of `user`, who is empty before the first welcome of a new device."""

    def __init__(
        self,
        user: str,
        stored: Stored,
        new_id: Callable[[], str],
        history: History,
        journal: Callable[[Change], None],
    ) -> None:
        self.user = user
        self._new_id = new_id
        self._outbox = Outbox(new_id, stored=stored, journal=journal)
        self._look_ups = LookUps(history)

    def submit(self, to: str, body: str, changes: int = 0) -> str:
        """Queue a message, or what `changes` message number n; its key. Raises OutboxFull,
        InvalidId, SendRefused."""
        recipient = user_id(to)
        try:
            size = len(body.encode())
        except UnicodeEncodeError:
            raise SendRefused(Code.BODY_INVALID.number) from None
        if size > frames.MAX_BODY_BYTES:
            raise SendRefused(Code.BODY_TOO_LARGE.number)
        if self.user:
            conversation_of(UserId(self.user), recipient)
        key = self._new_id()
        self._outbox.add(recipient, key, body, changes)
        return key

    def begin(self) -> None:
        """A new session: all that is unanswered goes out again."""
        self._outbox.reconnected()

    def transmit(self, now: float) -> list[Sending]:
        """What should go out now, in order."""
        return self._outbox.transmit(now)

    def wake_at(self) -> float | None:
        """When there will be something to transmit if nothing happens before."""
        return self._outbox.wake_at()

    def unanswered(self) -> list[SavedSend]:
        """By recipient and in order."""
        return self._outbox.unanswered()

    def sent(self, frame: frames.Sent, now: float) -> list[SendEnded]:
        return self._outbox.sent(self._other(frame.conversation), frame, now)

    def refused(self, frame: frames.Refused, now: float) -> list[SendEnded]:
        return self._outbox.refused(self._other(frame.conversation), frame, now)

    def out_of_step(self, frame: frames.OutOfStep, now: float) -> list[SendEnded]:
        """Sends that the server no longer knows have no result before they are looked up."""
        ended = self._outbox.out_of_step(self._other(frame.conversation), frame, now)
        for send in ended:
            if isinstance(send.result, SendUnknown):
                self._look_ups.begin(send, frame.conversation)
        return [send for send in ended if not isinstance(send.result, SendUnknown)]

    def error(self, frame: frames.Error, now: float) -> list[SendEnded]:
        return self._outbox.error(frame, now)

    def seen(self, message: frames.Message, now: float) -> list[SendEnded]:
        """The user's own message, seen with its key, is an answer to its send, too."""
        if message.sender != self.user:
            return []
        sent = SentMessage(message.conversation, message.seq, message.time)
        to = self._other(message.conversation)
        return self._outbox.own_message(to, message.key, sent, now)

    def looked_up(self, ended: HistoryEnded) -> list[SendEnded | HistoryEnded]:
        """A question after history has its result: this, or what it says of a send."""
        send = self._look_ups.answer(ended, self.user)
        if isinstance(send, SendEnded):
            return [send]
        return [] if send else [ended]

    def _other(self, conversation: str) -> str:
        first, second = members_of_valid(conversation)
        return second if first == self.user else first
