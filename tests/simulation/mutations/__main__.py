"""`python -m tests.simulation.mutations FILE.md` writes the table of mutations.

With a part of a name instead, it plays the mutations whose names have that part.
"""

import sys
from pathlib import Path

from tests.simulation.mutations.page import table

argument = sys.argv[1] if len(sys.argv) > 1 else ""
if argument.endswith(".md"):
    Path(argument).write_text(table())
else:
    table(argument)
