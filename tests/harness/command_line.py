"""`messenger` as a shell sees it, without running anything."""

import click


def parse(command: click.Command, arguments: list[str]) -> None:
    """Raises UsageError unless the command takes the arguments; runs nothing."""
    with command.make_context("messenger", list(arguments)) as context:
        if isinstance(command, click.Group) and arguments:
            _, found, rest = command.resolve_command(context, arguments)
            assert found is not None
            parse(found, rest)
