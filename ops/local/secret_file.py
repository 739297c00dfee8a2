"""Files that only their owner reads."""

import os
from pathlib import Path


def write_secret(file: Path, content: bytes) -> None:
    """Replace a file by one that only its owner reads."""
    new = file.with_suffix(".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as handle:
        handle.write(content)
    new.replace(file)
