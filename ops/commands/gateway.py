"""`messenger gateway`: run a gateway node."""

import logging
import os
import sys

import click

from ops.exits import exit_codes, fail


@click.command()
def command() -> None:
    """Run a gateway node until SIGTERM.

    Settings: MESSENGER_KAFKA, MESSENGER_REDIS, MESSENGER_TOKEN_SECRET (at least 32 characters), MESSENGER_HTTP_HOST
    (127.0.0.1), MESSENGER_HTTP_PORT (8400), MESSENGER_PARTITIONS (4), MESSENGER_SLOTS (8), MESSENGER_HEARTBEAT (25 s),
    MESSENGER_FRAME_RATE (2000/s a device), MESSENGER_LOCAL=1 (login without a password; never in production).

    \b
    Example:
      MESSENGER_KAFKA=127.0.0.1:8408 MESSENGER_REDIS=redis://127.0.0.1:8410/0 \\
      MESSENGER_TOKEN_SECRET=$(openssl rand -hex 32) messenger gateway
    """
    from connectors.environment import SettingsError, load
    from connectors.kafka.topics import KafkaUnreachable, TopicsWrong
    from gateway.node import run
    from gateway.settings import GatewaySettings
    from ops.logs import set_up_logging

    set_up_logging(logging.INFO)
    with exit_codes(unreachable=(KafkaUnreachable,), usage=(SettingsError,)):
        try:
            sys.exit(run(load(GatewaySettings, os.environ)))
        except TopicsWrong as error:
            fail(f"the topics are not as schemas/topics says:\n{error}")
