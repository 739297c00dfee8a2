"""`messenger operator`: what an operator may do with users."""

import uuid

import click
import msgspec

from ops.exits import FAILED, fail
from ops.operator_api import ask, check_ids, url_option


@click.group()
def command() -> None:
    """Look at a user, disconnect one, or write in the name of a service. Needs
    MESSENGER_OPERATOR_SECRET (or a local stack). `messenger revoke` makes tokens useless.

    \b
    Examples:
      messenger operator user bob
      messenger operator disconnect bob old-phone
      messenger operator send --as news --to bob "The office is closed today."
    """


@command.command()
@click.argument("user")
@url_option
def user(user: str, url: str) -> None:
    """Print one JSON line: USER's devices, the gateways to which they are connected, and what of
    the user's tokens is revoked. Example: messenger operator user bob"""
    check_ids(user)
    click.echo(ask(url, "GET", f"users/{user}"))


@command.command()
@click.argument("user")
@click.argument("device", required=False, default="")
@url_option
def disconnect(user: str, device: str, url: str) -> None:
    """Close the sockets of USER, or of one DEVICE, on all gateways (4013). They may come back; to
    keep them out, revoke their tokens. Example: messenger operator disconnect bob old-phone"""
    check_ids(user, device=device)
    click.echo(ask(url, "POST", "disconnections", {"user": user, "device": device}))


@command.command()
@click.option("--as", "sender", required=True, metavar="USER", help="the service's user id")
@click.option("--to", required=True, metavar="USER", help="the recipient")
@click.option(
    "--key",
    default=lambda: uuid.uuid4().hex,
    show_default="a new one each time",
    help="32 hex digits; a repeat with the same key is the same message",
)
@click.argument("text")
@url_option
def send(sender: str, to: str, key: str, text: str, url: str) -> None:
    """Send TEXT in the name of a service, and print its `sent` frame.
    Example: messenger operator send --as news --to bob "Closed today." """
    check_ids(sender, to)
    message = {"to": to, "key": key, "body": text}
    told = ask(url, "POST", "messages", {"from": sender, "messages": [message]})
    (answer,) = msgspec.json.decode(told)["answers"]
    line = msgspec.json.encode(answer).decode()
    if answer["t"] != "sent":
        fail(f"not sent with key {key}: {line}", FAILED)
    click.echo(line)
