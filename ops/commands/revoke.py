"""`messenger revoke`: make tokens of a user, or of one device, useless."""

import click

from ops.operator_api import ask, check_ids, url_option


@click.group()
def command() -> None:
    """Make tokens useless that were made until now, on all nodes, and close their sockets (4506).
    Needs MESSENGER_OPERATOR_SECRET (or a local stack). It can be repeated, and not taken back: the
    person logs in again.

    \b
    Examples:
      messenger revoke user bob
      messenger revoke device bob old-phone
    """


_before = click.option(
    "--before", type=int, help="only tokens that were made before this time (ms since 1970)"
)


@command.command()
@click.argument("user")
@url_option
@_before
def user(user: str, url: str, before: int | None) -> None:
    """All tokens of USER. Example: messenger revoke user bob"""
    _revoke(url, user, "", before)


@command.command()
@click.argument("user")
@click.argument("device")
@url_option
@_before
def device(user: str, device: str, url: str, before: int | None) -> None:
    """The tokens with which DEVICE of USER comes. Example: messenger revoke device bob old-phone"""
    _revoke(url, user, device, before)


def _revoke(url: str, user: str, device: str, before: int | None) -> None:
    check_ids(user, device=device)
    body = {"user": user, "device": device, "before": before}
    click.echo(ask(url, "POST", "revocations", body))
