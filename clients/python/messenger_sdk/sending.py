"""A device's sends, from the outbox to their results: what waits is kept, what is answered is told
to whoever waits for it."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

from messenger_sdk.deadline import Deadline
from messenger_sdk.errors import FolderOfAnother, MessengerError, SendRefused, SendUnknown
from messenger_sdk.events import SendFailed
from messenger_sdk.history import History
from messenger_sdk.outbox import Change, Done, Outbox, SavedSend, SentMessage
from messenger_sdk.outbox_file import OutboxFile
from schemas import frames
from schemas.codes import Code
from schemas.ids import UserId, conversation_of, members_of_valid, user_id

log = logging.getLogger(__name__)

_LOOK_UP_PAGES = 100
"""How far back a send is looked for that the server no longer knows."""


class Sends:
    """The sends of one device of `user` (set by `begin`). With a `file` they outlive the process.
    `on_due` is called when there is something to transmit, `on_failed` with a send of an earlier
    process that has failed. Use it inside a running loop."""

    def __init__(
        self,
        file: Path | None,
        new_id: Callable[[], str],
        clock: Callable[[], float],
        history: History,
        on_due: Callable[[], None],
        on_failed: Callable[[SendFailed], None],
    ) -> None:
        self.user = ""
        self._new_id = new_id
        self._clock = clock
        self._history = history
        self._on_due = on_due
        self._on_failed = on_failed
        self._changes: list[Change] = []
        self._file: OutboxFile | None = None
        if file is None:
            self._outbox = Outbox(new_id)
        else:
            self._file = OutboxFile(file)
            self._outbox = Outbox(
                new_id, saved=self._file.load(new_id()), journal=self._changes.append
            )
        self._sending = {send.key: send for send in self._outbox.unanswered()}
        self._results: dict[str, asyncio.Future[SentMessage]] = {}
        self._looking_up: set[asyncio.Task[None]] = set()
        self._due = Deadline(clock, on_due)

    def begin(self, user: str) -> None:
        """A new session: all that is unanswered is due again. Raises FolderOfAnother."""
        if self._file is not None and (owner := self._file.user(user)) != user:
            raise FolderOfAnother(f"the folder holds messages of {owner}, and this is {user}")
        self.user = user
        self._outbox.reconnected()
        self._on_due()

    def unanswered(self) -> list[SavedSend]:
        """By recipient and in order."""
        return self._outbox.unanswered()

    def submit(self, to: str, body: str) -> "asyncio.Future[SentMessage]":
        """See Client.submit. After FolderUnreadable nothing may be transmitted any more."""
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
        self._outbox.add(recipient, key, body)
        self._save()
        result = self._results[key] = asyncio.get_running_loop().create_future()
        self._sending[key] = SavedSend(key, recipient, body, 0)
        self._on_due()
        return result

    def transmit(self) -> list[frames.Send]:
        """What should go out now. Raises FolderUnreadable: going on could number another message
        like one that has left the device."""
        sends = self._outbox.transmit(self._clock())
        self._save()
        self._due.set(self._outbox.resend_at())
        return sends

    def sent(self, frame: frames.Sent) -> SavedSend | None:
        """The send that is answered, if this device knows it."""
        send = self._sending.get(frame.key)
        self._finish(self._outbox.sent(self._other(frame.conversation), frame, self._clock()))
        return send

    def refused(self, frame: frames.Refused) -> None:
        self._finish(self._outbox.refused(self._other(frame.conversation), frame, self._clock()))

    def out_of_step(self, frame: frames.OutOfStep) -> None:
        self._finish(
            self._outbox.out_of_step(self._other(frame.conversation), frame, self._clock())
        )
        self._on_due()

    def seen(self, message: frames.Message) -> None:
        """One's own message is an answer, too."""
        if message.sender == self.user:
            sent = SentMessage(message.conversation, message.seq, message.time)
            self._finish(
                self._outbox.own_message(
                    self._other(message.conversation), message.key, sent, self._clock()
                )
            )

    def error(self, frame: frames.Error) -> None:
        """A send was not handed on, if the error is about one."""
        self._finish(self._outbox.error(frame, self._clock()))
        self._due.set(self._outbox.resend_at())

    def stop(self, error: MessengerError) -> None:
        """Whoever waits gets the error."""
        self._due.set(None)
        for result in self._results.values():
            if not result.done():
                result.set_exception(error)
                result.exception()  # whoever waits for it gets it; a send nobody waits for is no fault to complain of
        self._results.clear()
        self._sending.clear()

    def close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(
                MessengerError
            ):  # an answer that is not noted is asked for again
                self._save()
            self._file.close()
            self._file = None

    def _save(self) -> None:
        """Before anything leaves the device that rests on it."""
        if self._file is not None and self._changes:
            self._file.save(self._changes)
            self._changes.clear()

    def _finish(self, done: list[Done]) -> None:
        for key, outcome in done:
            send = self._sending.pop(key, None)
            if isinstance(outcome, SendUnknown) and send is not None:
                task = asyncio.create_task(self._look_up(send, outcome))
                self._looking_up.add(task)
                task.add_done_callback(self._looking_up.discard)
            else:
                self._finished(key, send, outcome)
        if done:
            self._on_due()

    async def _look_up(self, send: SavedSend, unknown: SendUnknown) -> None:
        """One's own messages carry their keys: the history knows what became of a send."""
        conversation = conversation_of(UserId(self.user), user_id(send.to))
        outcome: SentMessage | MessengerError = unknown
        before: int | None = None
        try:
            for _ in range(_LOOK_UP_PAGES):
                page = await self._history.page(
                    conversation, before, None, frames.MAX_PAGE_MESSAGES
                )
                found = next(
                    (m for m in page.messages if m.key == send.key and m.sender == self.user), None
                )
                if found is not None:
                    outcome = SentMessage(conversation, found.seq, found.time)
                if found is not None or page.first or not page.messages:
                    break
                before = page.messages[0].seq
        except MessengerError as error:
            log.debug("looking up %s: %s", send.key, error)
        self._finished(send.key, send, outcome)

    def _finished(
        self, key: str, send: SavedSend | None, outcome: SentMessage | MessengerError
    ) -> None:
        result = self._results.pop(key, None)
        if result is None:
            if send is not None and not isinstance(outcome, SentMessage):
                self._on_failed(SendFailed(key, send.to, send.body, outcome))
        elif result.done():
            pass
        elif isinstance(outcome, SentMessage):
            result.set_result(outcome)
        else:
            result.set_exception(outcome)

    def _other(self, conversation: str) -> str:
        first, second = members_of_valid(conversation)
        return second if first == self.user else first
