"""docs/mutations.md: which history finds each mutation."""

import re
from pathlib import Path

from tests.simulation.mutations import all_mutations
from tests.simulation.mutations.mutation import find

_PAGE = Path(__file__).parents[3] / "docs" / "mutations.md"
_HEAD = """\
# Mutations

Each line switches one rule off in the production code and plays histories that lead to it
(tests/simulation/mutations). `python -m tests.simulation.mutations docs/mutations.md` writes
this page. Some histories begin with steps that lead to what the rule is there for, and most go on
at random. R4 (delivery does not wait for the append) is about time:
`test_a_message_is_delivered_while_the_log_cannot_be_written`. Of R8, a worker
that dies within a restore and another table format are in
`tests/stages/sequencer/test_snapshots.py`; writers that are paused between any two steps are in
`test_whoever_is_paused_wherever_two_snapshots_stay`.

| rule | mutation | histories until it is found | what is seen |
|---|---|---|---|
"""


def table(named: str = "") -> str:
    """The mutations whose names have `named` in them, and how many histories each took, as
    markdown."""
    lines = _HEAD.splitlines()
    for mutation in all_mutations():
        if named not in mutation.name:
            continue
        found = find(mutation)
        number, seen = (str(found[0]), found[1]) if found else (f"none in {mutation.most}", "")
        print(mutation.rule, mutation.name, number, seen[:100], flush=True)
        seen = seen.replace("|", "/").split("\n")[0][:90]
        lines.append(f"| {mutation.rule} | {mutation.name}: {mutation.off} | {number} | {seen} |")
    return "\n".join(lines) + "\n"


def known() -> dict[str, int]:
    """Name of a mutation → the number of the history that found it when the page was made. A change
    of the code may have made it another."""
    rows = re.findall(r"^\| \S.*? \| (.+?): .+ \| (\d+) \|", _PAGE.read_text(), re.MULTILINE)
    return {name: int(number) for name, number in rows}
