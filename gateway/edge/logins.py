"""The one place at which a node decides whether a token is good: signature, times, revocations. It
counts what it refuses."""

import logging
from collections import Counter
from collections.abc import Callable

from gateway.edge.tokens import BadToken, Login, TokenVerifier, Why
from gateway.log_throttle import LogThrottle
from gateway.revocations import Revocations
from schemas.events import Revocation

log = logging.getLogger(__name__)


class Logins:
    """`now` is the time in ms."""

    def __init__(
        self, verifier: TokenVerifier, revocations: Revocations, now: Callable[[], int]
    ) -> None:
        self._verifier = verifier
        self._revocations = revocations
        self._now = now
        self._said = {why: LogThrottle(log.warning) for why in Why}
        self.refused: Counter[Why] = Counter()
        """Tokens that were refused, by reason."""

    def login(self, token: str, device: str = "") -> Login:
        """What the token says, which has come from `device` (empty: over HTTP). Raises BadToken."""
        try:
            login = self._verifier.verify(token, self._now() / 1000)
            if device and login.device not in (None, device):
                raise BadToken("the token is for another device", Why.OTHER_DEVICE)
            if self.revoked(login.user, device or login.device or "", login.issued) is not None:
                raise BadToken("the token was revoked", Why.REVOKED)
        except BadToken as bad:
            self.refused_as(bad)
            raise
        return login

    def revoked(self, user: str, device: str, issued: float) -> Revocation | None:
        """What revokes a token of `user` and `device` (empty: none) that was made at `issued`
        (Unix seconds)."""
        return self._revocations.book.find(user, device, issued)

    def refused_as(self, bad: BadToken) -> None:
        """Somebody was refused with this."""
        self.refused[bad.why] += 1
        self._said[bad.why](f"a token was refused: {bad}")
