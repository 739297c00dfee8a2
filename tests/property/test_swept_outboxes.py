"""Outboxes that have been silent for so long that the fold has forgotten them may go from the disk:
whoever folds on answers as if they were there."""

import random
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from agents.rules.batch import fold_records
from agents.rules.fold import FoldState, Outcome
from streams.tables.memory import MemoryDisk
from streams.tables.sequences import Header, SequenceTable
from tests.property.model import VERSIONS
from tests.property.test_fold_spec import NAMES, History, Step, compare, records, write

SILENCE = max(limits.forget_after for limits in VERSIONS.values())
_LANES = [(name, outbox) for name in NAMES[:2] for outbox in (b"p" * 16, b"q" * 16)]
_SENDS = st.builds(
    lambda lane, delta: Step(lane[0], lane[1], delta, 0, "message", "hi", 1),
    st.sampled_from(_LANES),
    st.sampled_from([0, 0, 0, -1, 1]),
)
SILENT_AND_NOT = st.lists(
    st.tuples(st.sampled_from([0, 10, 26, SILENCE - 1, SILENCE + 1]), st.lists(_SENDS, max_size=2)),
    min_size=8,
    max_size=30,
)
"""Histories in which outboxes are silent for about as long as the fold remembers them."""


@given(st.one_of(records, SILENT_AND_NOT), st.integers(0, 2**32), st.sampled_from([0, 0, 1, 1000]))
def test_whatever_is_swept_whenever_the_fold_is_what_the_architecture_says(
    history: History, seed: int, limit: int
) -> None:
    inputs, spec = write(history)
    chance = random.Random(seed)
    table = SequenceTable(Path("table"), MemoryDisk())
    state = FoldState(table, versions=VERSIONS, max_clean=limit)
    outcomes: list[Outcome] = []
    written = position = 0
    while position < len(inputs):
        size = chance.randint(1, 3)
        batches = list(fold_records(state, inputs[position : position + size]))
        outcomes += [batch.outcome for batch in batches]
        position += size
        if chance.random() < 0.6:
            taken = [(n, outcomes[n].taken) for n in range(written, len(outcomes))]
            header = Header("log", "input", position=state.position, time=state.time)
            table.write(taken, header)
            state.folded(state.position)
            written = len(outcomes)
        table.sweep_outboxes(SILENCE, chance.choice([0, 2, 100]))
    compare(outcomes, spec)
