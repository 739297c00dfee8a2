"""Sends that the server no longer knows, looked up in the history: a user's own messages carry the
keys of their sends. Pure."""

from messenger_sdk.events import HistoryEnded, HistoryPage
from messenger_sdk.history import History
from messenger_sdk.outbox import SendEnded, SentMessage
from schemas.frames import MAX_PAGE_MESSAGES

MAX_PAGES = 100
"""How far back a send is looked for."""


class LookUps:
    """Asks its questions of `history`."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._open: dict[int, tuple[SendEnded, str, int]] = {}
        """Question → the send, its conversation, and how many pages it may still ask for."""

    def begin(self, send: SendEnded, conversation: str) -> None:
        """Look for a send whose result is SendUnknown."""
        self._ask(send, conversation, None, MAX_PAGES)

    def answer(self, ended: HistoryEnded, user: str) -> SendEnded | bool:
        """A send of `user` with the result that its last page gave, or whether the page was for one
        of these."""
        send, conversation, pages = self._open.pop(ended.id, (None, "", 0))
        if send is None:
            return False
        page = ended.result
        if not isinstance(page, HistoryPage):
            return send
        for message in page.messages:
            if message.key == send.key and message.sender == user:
                return send._replace(result=SentMessage(conversation, message.seq, message.time))
        if page.first or not page.messages or pages == 1:
            return send
        self._ask(send, conversation, page.messages[0].seq, pages - 1)
        return True

    def _ask(self, send: SendEnded, conversation: str, before: int | None, pages: int) -> None:
        id_ = self._history.ask(conversation, before, None, MAX_PAGE_MESSAGES)
        self._open[id_] = send, conversation, pages
