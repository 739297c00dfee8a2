"""Lets a user's sends pass to recipients who take them, by the operator's policy and the
recipient's decisions.

A send that is refused goes on as a refusal, since it has to use up its ordinal. If the gate knows
nothing now, it tells the device to send again. It never refuses a deletion: the user who wrote a
text may take it away.
"""

from functools import partial

from gateway.people.directory import Directory
from gateway.people.requests import Requests
from gateway.people.stances import Stances
from gateway.submit import Failed, Submitter
from schemas.codes import Code
from schemas.events import ChangeSubmitted, RefusalSubmitted, SubmittedItem
from schemas.worker_api import Stance


class SendGate:
    """A first send to somebody waits for what that user has decided, and what follows it waits
    behind it. With a `directory` only those get messages who are in it; `contacts`: only of their
    contacts; with `requests` a stranger may send one."""

    def __init__(
        self,
        submitter: Submitter,
        stances: Stances,
        directory: Directory | None = None,
        contacts: bool = False,
        requests: Requests | None = None,
    ) -> None:
        self._submitter = submitter
        self._stances = stances
        self._directory = directory
        self._contacts = contacts
        self._requests = requests

    def submit(self, item: SubmittedItem, to: str, failed: Failed) -> None:
        """Take a send to `to`, or say why not."""
        if self._requests is not None:
            self._requests.judge(item, to, partial(self._judged, item, failed))
        elif self._directory is None:
            self._look(item, to, failed)
        else:
            self._directory.look(to, partial(self._found, item, to, failed))

    def _found(self, item: SubmittedItem, to: str, failed: Failed, is_there: bool | None) -> None:
        if is_there:
            self._look(item, to, failed)
        else:
            code = Code.TRY_LATER if is_there is None else Code.UNKNOWN_RECIPIENT
            self._judged(item, failed, code)

    def _look(self, item: SubmittedItem, to: str, failed: Failed) -> None:
        stance = self._stances.fresh(to, item.sender)
        if stance is not None:
            self._pass(item, stance, failed)
        else:
            self._stances.look(to, item.sender, lambda found: self._pass(item, found, failed))

    def _pass(self, item: SubmittedItem, stance: Stance | None, failed: Failed) -> None:
        if stance is None:
            self._judged(item, failed, Code.TRY_LATER)
        elif stance.blocked:
            self._judged(item, failed, Code.BLOCKED)
        elif self._contacts and not stance.contact:
            self._judged(item, failed, Code.NOT_A_CONTACT)
        else:
            self._submitter.submit(item, failed)

    def _judged(self, item: SubmittedItem, failed: Failed, code: Code | None) -> None:
        """`code`: why the item does not pass, or None."""
        if code is None:
            self._submitter.submit(item, failed)
        elif code.retry:
            self._submitter.turned_away += 1
            failed(code)
        elif isinstance(item, ChangeSubmitted) and item.deletes:
            self._submitter.submit(item, failed)
        else:
            self._submitter.submit(_refusal(item, code), failed)


def _refusal(item: SubmittedItem, code: Code) -> RefusalSubmitted:
    if isinstance(item, RefusalSubmitted):
        return item
    return RefusalSubmitted(
        item.conversation,
        item.sender,
        item.device,
        item.outbox,
        item.ordinal,
        item.key,
        item.round,
        code.number,
    )
