"""`python -m tests.planted` writes the table of planted faults in docs/AUDIT.md."""

from tests.planted.table import PAGE, page

PAGE.write_text(page())
