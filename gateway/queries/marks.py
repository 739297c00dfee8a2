"""Asks the workers that hold the cursors what users have received and read."""

import msgspec

from gateway.people.mark_filter import seen_by_others
from gateway.people.stances import Stances
from gateway.queries.worker_client import WorkerClient
from schemas.frames import GetMarks, Marks
from schemas.worker_api import MarksAnswer, MarksQuestion, Stance

_marks = msgspec.json.Decoder(list[MarksAnswer])


class MarkQueries:
    """`workers` are the cursors' workers; `stances` say who may see what others have read."""

    def __init__(self, workers: WorkerClient, stances: Stances) -> None:
        self._workers = workers
        self._stances = stances

    async def marks(self, me: str, question: GetMarks) -> Marks:
        """The marks of these conversations, as the user `me` may see them; `pending` if some
        partitions did not answer. Raises WorkersUnavailable."""
        found, complete = await self._workers.ask_about(
            "marks", _marks, question.conversations, MarksQuestion
        )
        marks = [mark for marks in found.values() for mark in marks]
        others = dict.fromkeys(mark.user for mark in marks if mark.user != me)
        stances = {me: Stance(), **await self._stances.find(others, me)}
        known = [one for one in marks if one.user in stances]
        seen = (seen_by_others(one, stances[one.user]) for one in known)
        pending = not complete or len(known) < len(marks)
        return Marks(question.id, [one for one in seen if one is not None], pending)
