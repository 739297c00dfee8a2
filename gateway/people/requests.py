"""Message requests: a stranger may send one message, until its recipient accepts them.

The one message is named by its key to the owner of the recipient's list before it enters the input.
So of two first messages one wins, wherever they were sent, and a repeat passes. A user who writes
to somebody also accepts that user's answers: the sender has them as a contact.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from gateway.people.lists import PeopleLists
from gateway.people.stances import Stances
from gateway.queries.worker_transport import WorkersUnavailable
from schemas.codes import Code
from schemas.events import ChangeSubmitted, PersonChange, RefusalSubmitted, SubmittedItem
from schemas.worker_api import Stance

log = logging.getLogger(__name__)

MAX_WAITING = 10_000
"""Sends that wait for an answer. For any beyond these, the node tells the device to send again."""

Then = Callable[[Code | None], None]
"""Is called once: why the send does not pass, or None."""
_Waiting = deque[tuple[SubmittedItem, Then]]


class Requests:
    """Use it inside a running loop. What a user sends to another one waits for what came before."""

    def __init__(self, stances: Stances, lists: PeopleLists) -> None:
        self._stances = stances
        self._lists = lists
        self._waiting: dict[tuple[str, str], _Waiting] = {}
        """(sender, recipient) → what waits."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._count = 0

    def judge(self, item: SubmittedItem, to: str, then: Then) -> None:
        """Call `then`, now or when the owners of both lists have answered."""
        pair = item.sender, to
        waiting = self._waiting.get(pair)
        if waiting is None and self._is_agreed(*pair):
            then(None)
        elif self._count >= MAX_WAITING:
            then(Code.TRY_LATER)
        else:
            self._count += 1
            if waiting is None:
                waiting = self._waiting[pair] = deque()
                task = asyncio.create_task(self._judge_all(pair, waiting))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            waiting.append((item, then))

    def _is_agreed(self, sender: str, to: str) -> bool:
        """Whether it is known here that each has the other one as a contact."""
        theirs, mine = self._stances.fresh(to, sender), self._stances.fresh(sender, to)
        return bool(
            theirs is not None
            and mine is not None
            and theirs.contact
            and not theirs.blocked
            and (mine.contact or mine.blocked)
        )

    async def _judge_all(self, pair: tuple[str, str], waiting: _Waiting) -> None:
        while waiting:
            item, then = waiting.popleft()
            self._count -= 1
            try:
                code = await self._judge(item, pair[1])
            except WorkersUnavailable as error:
                log.debug("a first message cannot be judged now: %s", error)
                code = Code.TRY_LATER
            except Exception:  # a fault of ours: the device sends again
                log.exception("a first message could not be judged")
                code = Code.TRY_LATER
            then(code)
        del self._waiting[pair]

    async def _judge(self, item: SubmittedItem, to: str) -> Code | None:
        if isinstance(item, RefusalSubmitted):
            return None
        theirs = await self._stance(to, item.sender)
        is_message = not isinstance(item, ChangeSubmitted)
        if is_message and not (theirs.contact or theirs.blocked or theirs.request):
            theirs = await self._say(PersonChange(to, item.sender, request=item.key))
        if theirs.blocked:
            return Code.BLOCKED
        if not theirs.contact and theirs.request != item.key:
            return Code.NOT_ACCEPTED
        mine = await self._stance(item.sender, to)
        if is_message and not (mine.contact or mine.blocked):
            await self._say(PersonChange(item.sender, to, contact=True))
        return None

    async def _stance(self, user: str, other: str) -> Stance:
        """Raises WorkersUnavailable."""
        found = await self._stances.find([user], other)
        if user not in found:
            raise WorkersUnavailable(f"nobody knows what {user} has decided now")
        return found[user]

    async def _say(self, change: PersonChange) -> Stance:
        """Raises WorkersUnavailable."""
        stance = await self._lists.stance_after(change)
        self._stances.forget(change.other, {change.user})
        return stance
