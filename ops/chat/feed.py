"""What the SDK's client gives goes into a `Chat`; what a person writes goes to the client."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence

from messenger_sdk import (
    Client,
    HistoryRefused,
    MessageReceived,
    MessengerError,
    SentMessage,
)
from ops.chat.listing import Listed
from ops.chat.state import Chat, Conversation, Message

_PAGE = 50
"""Messages that are asked for at once."""
_AGAIN_SECONDS = 5.0
"""Before the list is asked for again."""


class Feed:
    """`listing` gives the last conversations, or raises ConnectionError; `now` is the time in ms.
    `changed` is called when the chat has changed, `came` with each message of somebody else."""

    def __init__(
        self,
        chat: Chat,
        client: Client,
        listing: Callable[[], Awaitable[Sequence[Listed]]],
        now: Callable[[], int],
        changed: Callable[[], object],
        came: Callable[[MessageReceived], None],
    ) -> None:
        self._chat = chat
        self._client = client
        self._listing = listing
        self._now = now
        self._changed = changed
        self._came = came
        self._loading: set[str] = set()
        """Peers of whose conversation a page is asked for."""
        self._watched: set[str] = set()

    async def run(self) -> None:
        """Until the client ends. Raises what the SDK's storage raises."""
        for saved in self._client.device.unanswered():
            self._chat.submitted(saved.to, saved.key, saved.body, saved.changes, self._now())
        others = [asyncio.create_task(self._list()), asyncio.create_task(self._people())]
        try:
            async for event in self._client:
                self._chat.happened(event, self._now())
                if isinstance(event, MessageReceived) and event.sender != self._chat.me:
                    self._came(event)
                self._changed()
        finally:
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

    async def _list(self) -> None:
        while True:
            try:
                listed = await self._listing()
                break
            except ConnectionError:
                await asyncio.sleep(_AGAIN_SECONDS)
        for conversation, head, last in ((one.conversation, one.seq, one.last) for one in listed):
            said = (
                None
                if last is None
                else Message(last.sender, last.body, last.time, last.seq, erased=last.erased)
            )
            self._chat.listed(conversation, head, said)
        self._changed()

    async def _people(self) -> None:
        for user in await self._client.blocked():
            self._chat.with_(user).blocked = True
        self._changed()

    async def load(self, conversation: Conversation) -> None:
        """The page before the first message that is here. If the client has stopped it does
        nothing; the state says that."""
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
            return
        finally:
            self._loading.discard(peer)
        self._changed()

    def watch(self) -> None:
        """Ask for the presence of those who are shown."""
        current, shown = self._chat.current, self._chat.in_order()
        peers = [*([current.peer] if current else []), *(one.peer for one in shown)]
        if set(peers) != self._watched:
            self._watched = set(peers)
            self._client.watch(peers)

    def write(self, to: str, body: str, changes: int = 0) -> Coroutine[None, None, None]:
        """Send a message, or a new text for message `changes` (none: delete it); what it returns
        waits for the answer. Raises MessengerError if it cannot be queued."""
        if not changes:
            sent = self._client.submit(to, body)
        elif body:
            sent = self._client.edit(to, changes, body)
        else:
            sent = self._client.delete(to, changes)
        key = next(one.key for one in reversed(self._client.device.unanswered()) if one.to == to)
        self._chat.submitted(to, key, body, changes, self._now())
        self._changed()
        return self._answered(to, key, sent)

    async def _answered(self, to: str, key: str, sent: Awaitable[SentMessage]) -> None:
        try:
            await sent
        except MessengerError as error:
            self._chat.failed(to, key, str(error))
            self._changed()
