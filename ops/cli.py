"""`messenger`: the command of this project. It imports a subcommand when it is used."""

import importlib
import os

import click

from connectors.environment import FILE
from ops.importing import importing

COMMANDS = {
    "local": "run the whole system on this machine",
    "gateway": "run a gateway node",
    "worker": "run stages of the pipeline",
    "topics": "create or check the Kafka topics",
    "snapshot": "list or write snapshots of the sequencer's state",
    "chat": "talk to people, in the terminal",
    "token": "make a login token (local mode)",
    "send": "send a message",
    "edit": "give an own message a new text, for everybody",
    "delete": "take an own message away, from everybody",
    "tail": "show what a device of a user receives",
    "history": "show a conversation, page by page",
    "devices": "list a user's devices, or log one out",
    "block": "block a user",
    "unblock": "block a user no more",
    "blocked": "list whom a user has blocked",
    "contacts": "list a user's contacts, add and remove some",
    "privacy": "what a user shows to others",
    "requests": "list whose message requests wait",
    "accept": "accept a message request",
    "decline": "decline a message request",
    "revoke": "make the tokens of a user or a device useless",
    "operator": "look at users, disconnect them, write in a service's name",
    "export": "give a person what the archive has of them",
    "erase": "take the texts of messages away, for good",
    "archive": "look after the archive in ClickHouse",
    "report": "draw what people did, from the archive",
    "simulate": "play random histories of a whole system, on virtual time",
    "audit": "judge what Kafka and the workers hold",
    "partition": "list partitions, and decide about halted ones",
    "status": "the whole system on one screen",
    "doctor": "look at everything that must be right, and say how to mend it",
    "dead-letters": "what could not be read, or was set aside",
    "size": "how many machines a number of users and messages needs",
    "completion": "print what makes a shell complete these commands",
}
_PEOPLE = ("block", "unblock", "blocked", "requests", "accept", "decline")
"""They differ in a word each, and are made in ops/commands/people.py."""


class LazyGroup(click.Group):
    """A group with its other subcommands in ops/commands/<name>.py, as `command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        with importing():
            module = importlib.import_module(
                f"ops.commands.{'people' if name in _PEOPLE else name.replace('-', '_')}"
            )
        command: click.Command = module.commands[name] if name in _PEOPLE else module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--settings", metavar="FILE", help=f"a settings file, in TOML ({FILE})")
def main(settings: str | None) -> None:
    """One-to-one messenger on Kafka.

    \b
    Exit codes: 0 done; 1 failed, unhealthy, or a deviation was found;
    2 wrong usage or settings; 3 a service cannot be reached.

    Each command has --help with an example. Settings come from a file and from the environment
    (MESSENGER_...), which wins; docs/SETTINGS.md has them all.
    """
    if settings is not None:
        os.environ[FILE] = settings  # also for the processes that a command starts
