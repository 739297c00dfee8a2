"""Says whether a user may change a message: the message must be the user's own, young enough and
not deleted.

The fold knows no message's author or age, so the gateway looks the message up before the change
enters the input. A "no" enters it as a refusal, which uses up the ordinal.
"""

from collections.abc import Callable

from gateway.queries.history import History, HistoryUnavailable
from schemas.codec import decode_message
from schemas.codes import Code
from schemas.events import (
    Changed,
    ChangeSubmitted,
    MessageSubmitted,
    RefusalSubmitted,
    SubmittedItem,
)
from schemas.frames import Message
from schemas.worker_api import RangeGone


class ChangeGate:
    """A message may be changed for `seconds`. `now` is the time in ms."""

    def __init__(self, history: History, seconds: float, now: Callable[[], int]) -> None:
        self._history = history
        self._milliseconds = seconds * 1000
        self._now = now

    async def judge(self, item: MessageSubmitted, seq: int) -> SubmittedItem | None:
        """The item with what it changes, message `seq` of its conversation, or a refusal. None:
        nobody can say now."""
        try:
            history = self._history.of(item.sender)
            page = await history.page(item.conversation, seq + 1, None, 1)
        except HistoryUnavailable:
            return None
        except RangeGone:
            return _refusal(item, Code.CHANGE_UNKNOWN)
        if page.known < seq:  # it was numbered a moment ago, or never
            return None
        message = decode_message(page.frames[-1]) if page.frames else None
        if message is None or message.seq != seq or message.changes:
            return _refusal(item, Code.CHANGE_UNKNOWN)
        code = self._forbids(item.sender, message)
        if code is not None:
            return _refusal(item, code)
        changed = Changed(seq, bytes.fromhex(message.key), message.time)
        return ChangeSubmitted(*_head(item), item.body, changed)

    def _forbids(self, sender: str, message: Message) -> Code | None:
        if message.sender != sender:
            return Code.CHANGE_NOT_YOURS
        if message.erased:
            return Code.CHANGE_OF_DELETED
        too_late = self._now() - message.time > self._milliseconds
        return Code.CHANGE_TOO_LATE if too_late else None


def _refusal(item: MessageSubmitted, code: Code) -> RefusalSubmitted:
    return RefusalSubmitted(*_head(item), code.number)


def _head(item: MessageSubmitted) -> tuple[str, str, str, bytes, int, bytes, int]:
    """What all submitted items begin with."""
    head = item.conversation, item.sender, item.device, item.outbox
    return *head, item.ordinal, item.key, item.round
