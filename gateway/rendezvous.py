"""The node on which a user's devices should meet: rendezvous hashing over the URLs of the nodes
that live now. Pure.

When a node comes or goes, about 1/n of the users get another right node, and nobody else does. It
only saves work: routes say where a device is, whichever node it connected to.
"""

from collections.abc import Iterable
from hashlib import blake2b


def right_node(user: str, urls: Iterable[str]) -> str | None:
    """The URL of the node for a user; None if there is no node."""
    return max(
        urls,
        key=lambda url: blake2b(f"{url}\0{user}".encode(), digest_size=8).digest(),
        default=None,
    )
