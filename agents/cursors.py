"""The cursors: `receipts.submitted` → `cursors` and `deliveries`. The decisions are agents/rules/cursors.py."""

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
from faust.web import View

from agents.folding.app import make_folding_app
from agents.folding.outside import Outside
from agents.folding.stage import FoldingStage
from agents.receipts import ReceiptsPartition
from agents.settings import WorkerSettings
from schemas.codec import UNDECODABLE
from schemas.ranges import DevicesQuestion, MarksAnswer, MarksQuestion
from schemas.topics import RECEIPTS
from streams.app import PipelineApp
from streams.rocks import RocksBudget
from streams.stage import GoOn

GROUP = "cursors"

encode_json = msgspec.json.Encoder().encode
decode_devices = msgspec.json.Decoder(DevicesQuestion).decode
decode_question = msgspec.json.Decoder(MarksQuestion).decode


def make_cursors(outside: Outside, settings: WorkerSettings, budget: RocksBudget) -> PipelineApp:
    """The cursors' Faust app. Call it inside the loop it will run in; await its `closing` after it has stopped."""

    def make(number: int, figures: Counter[str], go_on: GoOn) -> ReceiptsPartition:
        return ReceiptsPartition(number, outside, Path(settings.state_dir), budget, figures, go_on)

    app, stage = make_folding_app(GROUP, RECEIPTS, outside, make, settings, settings.partitions)

    @app.page("/cursors/marks/")
    class Marks(View):
        async def post(self, request: Any) -> Any:
            """A MarksQuestion in, a MarksAnswer out."""
            try:
                question = decode_question(await request.read())
            except UNDECODABLE as error:
                return self.json({"error": str(error)}, status=400)
            return self.bytes(encode_json(marks(stage, question)), content_type="application/json")

    @app.page("/cursors/devices/")
    class Devices(View):
        async def post(self, request: Any) -> Any:
            """A DevicesQuestion in, a DevicesAnswer out."""
            try:
                asked = decode_devices(await request.read())
            except UNDECODABLE as error:
                return self.json({"error": str(error)}, status=400)
            found = {
                number: stage.partitions[number].devices(asked.user)
                for number in asked.partitions
                if number in stage.partitions
            }
            answer = {number: devices for number, devices in found.items() if devices is not None}
            return self.bytes(encode_json(answer), content_type="application/json")

    return app


def marks(stage: FoldingStage[ReceiptsPartition], question: MarksQuestion) -> MarksAnswer:
    """Marks, of the partitions asked that are here."""
    found = {
        number: stage.partitions[number].marks(conversations)
        for number, conversations in question.conversations.items()
        if number in stage.partitions
    }
    return {number: some for number, some in found.items() if some is not None}
