"""What was received and read: asked of the workers that hold the cursors."""

import msgspec

from gateway.queries.worker_client import WorkerClient
from schemas.frames import GetMarks, Marks
from schemas.worker_api import MarksAnswer, MarksQuestion

_marks = msgspec.json.Decoder(list[MarksAnswer])


class MarkQueries:
    """`workers` are the cursors' workers."""

    def __init__(self, workers: WorkerClient) -> None:
        self._workers = workers

    async def marks(self, question: GetMarks) -> Marks:
        """The marks of these conversations; `pending` if some partitions did not answer. Raises
        WorkersUnavailable."""
        found, complete = await self._workers.ask_about(
            "marks", _marks, question.conversations, MarksQuestion
        )
        marks = [mark for marks in found.values() for mark in marks]
        return Marks(question.id, marks, not complete)
