"""`messenger completion`: commands and options, completed by the shell."""

import click
from click.shell_completion import get_completion_class

_SHELLS = ["bash", "zsh", "fish"]


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
def command(shell: str) -> None:
    """Print what makes SHELL complete `messenger …`.

    \b
    Example:
      source <(messenger completion bash)
      messenger completion fish > ~/.config/fish/completions/messenger.fish
    """
    # imported here: it imports this module
    from ops.cli import main

    made = get_completion_class(shell)
    assert made is not None, "click knows the shells above"
    click.echo(made(main, {}, "messenger", "_MESSENGER_COMPLETE").source())
