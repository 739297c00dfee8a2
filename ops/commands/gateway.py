"""`messenger gateway`: run a gateway node, or send one away."""

import json
import logging
import sys
import time
import urllib.error
import urllib.request

import click

from ops.exits import FAILED, UNREACHABLE, exit_codes, fail
from ops.importing import importing
from ops.login import default_url, operator_secret
from ops.trust import open_page


@click.group(invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> None:
    """Run a gateway node until SIGTERM; then it sends its sessions away and ends with 0.

    Settings: MESSENGER_KAFKA, MESSENGER_REDIS, MESSENGER_TOKEN_SECRET (at least 32 characters),
    MESSENGER_HTTP_HOST (127.0.0.1), MESSENGER_HTTP_PORT (8400), MESSENGER_PARTITIONS (4),
    MESSENGER_SLOTS (8), MESSENGER_HEARTBEAT (25 s), MESSENGER_FRAME_RATE (2000/s a device),
    MESSENGER_DRAIN_SECONDS (10), MESSENGER_REPLICATION (3), MESSENGER_FLUSH, MESSENGER_LOCAL=1
    (login without a password, and one copy of each record is enough; never in production).

    \b
    Example:
      MESSENGER_KAFKA=127.0.0.1:8408 MESSENGER_REDIS=redis://127.0.0.1:8410/0 \\
      MESSENGER_TOKEN_SECRET=$(openssl rand -hex 32) messenger gateway
    """
    if context.invoked_subcommand is not None:
        return
    from connectors.environment import SettingsError
    from gateway.settings import GatewaySettings
    from ops.logs import set_up_logging
    from ops.settings import settings_of

    with exit_codes(usage=(SettingsError,)):
        settings = settings_of(GatewaySettings)
    set_up_logging(logging.INFO, settings.log_format)

    # They take a second to import: who has forgotten a setting is told before.
    with importing():
        from connectors.kafka.ports import KafkaUnreachable
        from connectors.kafka.start_checks import TopicsWrong
        from gateway.main import run

    with exit_codes(unreachable=(KafkaUnreachable,), usage=(SettingsError, TopicsWrong)):
        sys.exit(run(settings))


@command.command()
@click.option(
    "--url",
    default=default_url,
    help="the node (MESSENGER_URL); the local stack's first by default",
)
@click.option(
    "--timeout", default=60.0, show_default=True, help="seconds to wait until it has ended"
)
def drain(url: str, timeout: float) -> None:
    """Tell a node to send its sessions away and end, and wait until it has. Needs
    MESSENGER_OPERATOR_SECRET (or a local stack).

    \b
    Example:
      messenger gateway drain --url http://gateway-3:8400
    """
    from gateway.edge.tokens import issue_operator

    secret = operator_secret()
    node = _node(url)
    if node is None:
        fail(f"no gateway answers at {url}", UNREACHABLE)
    headers = {"Authorization": f"Bearer {issue_operator(secret, time.time())}"}
    try:
        open_page(
            urllib.request.Request(f"{url}/v1/operator/drain", method="POST", headers=headers), 10
        ).close()
    except urllib.error.HTTPError as error:
        fail(f"{url} answers {error.code}: {error.read().decode(errors='replace')[:200]}", FAILED)
    except OSError as error:
        fail(f"{url}: {error}", UNREACHABLE)
    until = time.monotonic() + timeout
    while _node(url) == node:
        if time.monotonic() > until:
            fail(f"node {node} is still there after {timeout:g} s", FAILED)
        time.sleep(0.1)
    click.echo(f"node {node} has gone")


def _node(url: str) -> str | None:
    """The id of the node that answers, well or not; None if none does."""
    try:
        try:
            with open_page(f"{url}/health", 5) as answer:
                body = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                body = error.read()
        node: str = json.loads(body)["node"]
    except (OSError, ValueError, KeyError):
        return None
    return node
