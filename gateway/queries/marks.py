"""What was received and read: asked of the workers that keep the cursors."""

import msgspec

from gateway.queries.worker_client import WorkerClient
from schemas.frames import GetMarks, Marks
from schemas.ids import partition_of
from schemas.worker_api import MarksAnswer, MarksQuestion

_marks = msgspec.json.Decoder(MarksAnswer)


class MarkQueries:
    """`workers` keep the cursors."""

    def __init__(self, workers: WorkerClient) -> None:
        self._workers = workers

    async def marks(self, question: GetMarks) -> Marks:
        """The marks of these conversations; `pending` if some could not be asked after. Raises
        WorkersUnavailable."""
        asked: dict[int, list[str]] = {}
        for conversation in question.conversations:
            asked.setdefault(partition_of(conversation, self._workers.partitions), []).append(
                conversation
            )
        found, complete = await self._workers.ask_owners(
            "marks",
            _marks,
            asked,
            lambda partitions: MarksQuestion({number: asked[number] for number in partitions}),
        )
        return Marks(
            question.id, [mark for marks in found.values() for mark in marks], not complete
        )
