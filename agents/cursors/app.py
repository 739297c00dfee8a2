"""The cursors: `receipts.submitted` → `cursors` and `deliveries`. The decisions are
agents/rules/cursors.py."""

from collections import Counter
from pathlib import Path

from agents.cursors.partition import CursorsPartition
from agents.settings import WorkerSettings
from agents.table_stage.app import make_folding_app
from agents.table_stage.io import TableStageIO
from agents.table_stage.stage import TableStage
from agents.worker_api import add_question
from schemas.topics import RECEIPTS
from schemas.worker_api import DevicesAnswer, DevicesQuestion, MarksAnswer, MarksQuestion
from streams.earlier_stage import GoOn
from streams.faust_adapter.app import PipelineApp
from streams.tables.rocks import RocksBudget

GROUP = "cursors"


def make_cursors(
    outside: TableStageIO, settings: WorkerSettings, budget: RocksBudget
) -> PipelineApp:
    """The cursors' Faust app. Call it inside the loop it will run in; await its `closing` after it
    has stopped."""

    def make(number: int, figures: Counter[str], go_on: GoOn) -> CursorsPartition:
        return CursorsPartition(number, outside, Path(settings.state_dir), budget, figures, go_on)

    app, stage = make_folding_app(GROUP, RECEIPTS, outside, make, settings, settings.partitions)

    async def answer_marks(question: MarksQuestion) -> MarksAnswer:
        return marks(stage, question)

    async def answer_devices(question: DevicesQuestion) -> DevicesAnswer:
        return devices(stage, question)

    add_question(app, "/cursors/marks/", MarksQuestion, answer_marks)
    add_question(app, "/cursors/devices/", DevicesQuestion, answer_devices)
    return app


def marks(stage: TableStage[CursorsPartition], question: MarksQuestion) -> MarksAnswer:
    """Marks, of the partitions asked that are here."""
    found = {
        number: stage.partitions[number].marks(conversations)
        for number, conversations in question.conversations.items()
        if number in stage.partitions
    }
    return {number: some for number, some in found.items() if some is not None}


def devices(stage: TableStage[CursorsPartition], question: DevicesQuestion) -> DevicesAnswer:
    """The user's devices, of the partitions asked that are here."""
    found = {
        number: stage.partitions[number].devices(question.user)
        for number in question.partitions
        if number in stage.partitions
    }
    return {number: some for number, some in found.items() if some is not None}
