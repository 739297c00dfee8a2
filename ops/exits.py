"""Exit codes of the `messenger` command, and errors that say which."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import click

FAILED = 1
USAGE = 2
UNREACHABLE = 3


def fail(text: str, code: int = FAILED) -> NoReturn:
    """End the command with one clear line on stderr."""
    click.echo(f"messenger: {text}", err=True)
    sys.exit(code)


@contextmanager
def exit_codes(
    unreachable: tuple[type[Exception], ...] = (), usage: tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """Turn these exceptions into their exit codes."""
    try:
        yield
    except usage as error:
        fail(str(error), USAGE)
    except unreachable as error:
        fail(str(error), UNREACHABLE)
