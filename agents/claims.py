"""Saying in Redis which partitions this worker has, so that gateways ask it about them."""

from typing import Any

from connectors.redis.owners import Owners
from streams.stage import Stage, Timer

CLAIM_SECONDS = 1.0
"""How often the claims are renewed."""


def renew_claims(stage: Stage[Any], owners: Owners, address: str) -> Timer:
    """A stage's timer that renews the claims of the worker at `address`."""

    async def renew() -> None:
        # A worker that may have lost its partitions would be asked in vain.
        if stage.confirmed:
            await owners.keep(stage.readable, address)

    return Timer(CLAIM_SECONDS, renew)
