"""Lets devices' receipts pass whose conversation has a message, and no others.

A receipt becomes rows that stay, and a mark on the other user's devices. Where there is no message,
nobody may cause that: neither for a stranger nor under a name that is made up.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection
from typing import NamedTuple

from cachetools import FIFOCache

from gateway.queries.conversations import ConversationQueries
from gateway.queries.worker_transport import WorkersUnavailable
from gateway.receipts import Receipts
from gateway.registry import ConnectionRegistry
from schemas.codes import Code
from schemas.events import Receipt

log = logging.getLogger(__name__)

MAX_KNOWN = 100_000
"""Conversations known to have a message; of more, the one known longest is asked about
again."""
MAX_WAITING = 10_000
"""Receipts that wait for an answer about their conversations; more are refused."""
MAX_WAITING_OF_USER = 1_000
"""Of one user: one who asks about made-up conversations leaves room to others."""
TOGETHER = 1_000
"""Receipts about whose conversations the workers are asked at once."""

Refused = Callable[[Code], None]
"""Called once if the receipt was not taken."""


class _Waiting(NamedTuple):
    """A receipt that came at loop time `since`."""

    receipt: Receipt
    refused: Refused
    since: float


class ReceiptGate:
    """Use it inside a running loop. That a conversation has a message never changes, so a node asks
    once; one question is under way at a time, for all receipts that came meanwhile."""

    def __init__(
        self, receipts: Receipts, conversations: ConversationQueries, registry: ConnectionRegistry
    ) -> None:
        self._receipts = receipts
        self._conversations = conversations
        self._registry = registry
        self._known = FIFOCache[str, bool](MAX_KNOWN)
        self._waiting: list[_Waiting] = []
        self._of: Counter[str] = Counter()
        """user → how many of these are theirs."""
        self._asking: asyncio.Task[None] | None = None
        self._clock = asyncio.get_running_loop().time

    def submit(self, receipt: Receipt, refused: Refused) -> None:
        """Take a receipt of a connection of this node, or say why not."""
        conversation = receipt.conversation
        if conversation in self._known:
            self._take(receipt, refused)
        elif self._registry.was_pushed(receipt.user, receipt.device, conversation):
            self._known[conversation] = True
            self._take(receipt, refused)
        elif len(self._waiting) >= MAX_WAITING or self._of[receipt.user] >= MAX_WAITING_OF_USER:
            refused(Code.TRY_LATER)
        else:
            self._of[receipt.user] += 1
            self._waiting.append(_Waiting(receipt, refused, self._clock()))
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(self._ask_all())

    def _take(self, receipt: Receipt, refused: Refused) -> None:
        if not self._receipts.submit(receipt):
            refused(Code.TRY_LATER)

    async def _ask_all(self) -> None:
        while self._waiting:
            asked, self._waiting = self._waiting[:TOGETHER], self._waiting[TOGETHER:]
            self._of = Counter(one.receipt.user for one in self._waiting)
            names = dict.fromkeys(one.receipt.conversation for one in asked)
            found, complete = await self._ask(names)
            self._known.update(dict.fromkeys(found, True))
            for receipt, refused, since in asked:
                if receipt.conversation not in found:
                    refused(Code.NO_MESSAGE if complete else Code.TRY_LATER)
                elif not self._receipts.was_forgotten(receipt.user, receipt.device, since):
                    self._take(receipt, refused)

    async def _ask(self, conversations: Collection[str]) -> tuple[dict[str, int], bool]:
        try:
            return await self._conversations.seqs(conversations)
        except WorkersUnavailable as error:
            log.debug("receipts are refused for now: %s", error)
        except Exception:  # a fault of ours: the devices are told, and others are asked about
            log.exception("conversations of receipts could not be asked about")
        return {}, False
