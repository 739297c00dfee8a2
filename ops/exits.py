"""Exit codes of the `messenger` command."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import click

FAILED = 1
USAGE = 2
CANNOT_JUDGE = 2
"""`messenger audit` has no verdict: to it a wrong setting and a service that is away are alike."""
UNREACHABLE = 3


def fail(text: str, code: int = FAILED) -> NoReturn:
    """Print one line on stderr and end the command with `code`."""
    click.echo(f"messenger: {text}", err=True)
    sys.exit(code)


@contextmanager
def exit_codes(
    unreachable: tuple[type[Exception], ...] = (), usage: tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """End the command with UNREACHABLE or USAGE when the body raises one of these exceptions."""
    try:
        yield
    except usage as error:
        fail(str(error), USAGE)
    except unreachable as error:
        fail(str(error), UNREACHABLE)
