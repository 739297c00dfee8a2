"""Imports that take long."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """Import in here what takes long: the garbage collector does not run. It would look at all
    modules again and again and find nothing, for an eighth of a worker's start."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
