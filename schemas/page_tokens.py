"""Who may see a worker's pages: a pure decision over what a request says."""

import hmac
from typing import Annotated, NamedTuple

from msgspec import Meta

Token = Annotated[str, Meta(pattern=r"^(\S{32,})?$")]
"""At least 32 characters that a header takes, or none."""

WITH_MESSAGES = frozenset({"/sequencer/page/{partition}/"})
"""Patterns of pages that hold bodies of messages."""
OPEN = frozenset({"/health/", "/", "/overview/{name}"})
"""What is asked to learn whether the worker lives, which names no user; and the files of the
overview page, which asks for its data with a token."""
_BEARER = "Bearer "


class PageTokens(NamedTuple):
    """`messages` opens every page; gateways hold it. `status` opens all pages without bodies of
    messages; operators hold it. A token that is empty opens nothing. If both are, nothing is
    closed."""

    status: str = ""
    messages: str = ""

    def allow(self, pattern: str, authorization: str) -> bool:
        """Whether a request with this header sees the page with this pattern."""
        if pattern in OPEN or not any(self):
            return True
        valid = (self.messages,) if pattern in WITH_MESSAGES else self
        given = authorization.removeprefix(_BEARER).encode()
        return authorization.startswith(_BEARER) and any(
            token and hmac.compare_digest(given, token.encode()) for token in valid
        )
