"""Login tokens: JWTs signed with HS256. `sub` is the user, `exp` the end in Unix seconds. Anybody
with the secret can make them."""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Literal

import jwt
import msgspec
from msgspec import UNSET, Struct, UnsetType

from schemas.ids import UserId, user_id

_ALGORITHM = "HS256"
_OPERATORS = "messenger-operators"
_OPERATOR_SECONDS = 60.0
LIFETIME_SECONDS = 7 * 24 * 3600
_WRONG = "the token is not one that this server takes"


class BadToken(ValueError):
    """The token is missing, wrong or expired."""


class _Header(Struct):
    alg: Literal["HS256"]
    crit: UnsetType = UNSET
    """Extensions that a server must understand; this one knows none."""


class _Claims(Struct):
    sub: str
    exp: float
    aud: UnsetType = UNSET
    """A token for somebody else: for operators, say."""


_header, _claims = msgspec.json.Decoder(_Header), msgspec.json.Decoder(_Claims)


def issue(user: UserId, secret: str, now: float, lifetime: float = LIFETIME_SECONDS) -> str:
    """A token for `user`, valid from `now` (Unix seconds) for `lifetime` seconds."""
    return jwt.encode(
        {"sub": user, "iat": int(now), "exp": int(now + lifetime)}, secret, algorithm=_ALGORITHM
    )


def verify(token: str, secret: str, now: float) -> UserId:
    """The user a token speaks for. Raises BadToken, with a sentence for people."""
    if not token:
        raise BadToken("the token is missing")
    # By hand: each login needs it, and PyJWT takes ten times as long.
    signed, _, signature = token.rpartition(".")
    head, _, body = signed.partition(".")
    try:
        digest = hmac.digest(secret.encode(), signed.encode("ascii"), "sha256")
        wanted = urlsafe_b64encode(digest).rstrip(b"=")
        if not hmac.compare_digest(wanted, signature.encode("ascii")):
            raise BadToken(_WRONG)
        _header.decode(_segment(head))
        claims = _claims.decode(_segment(body))
        if claims.exp <= now:
            raise BadToken("the token has expired")
        return user_id(claims.sub)
    except (ValueError, msgspec.DecodeError) as error:
        if isinstance(error, BadToken):
            raise
        raise BadToken(_WRONG) from None


def _segment(text: str) -> bytes:
    """What a segment of a token holds. Raises ValueError."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def issue_operator(secret: str, now: float) -> str:
    """A token for one request of an operator, valid for a minute. No device can log in with it."""
    claims = {"aud": _OPERATORS, "iat": int(now), "exp": int(now + _OPERATOR_SECONDS)}
    return jwt.encode(claims, secret, algorithm=_ALGORITHM)


def verify_operator(token: str, secret: str, now: float) -> None:
    """Raises BadToken unless the token is an operator's."""
    unchecked_times = {"verify_exp": False, "verify_iat": False, "require": ["aud", "exp"]}
    try:
        claims = jwt.decode(
            token,
            secret,
            algorithms=[_ALGORITHM],
            audience=_OPERATORS,
            options=unchecked_times,  # type: ignore[arg-type]
        )
        if not isinstance(claims["exp"], int | float) or claims["exp"] <= now:
            raise BadToken("the token has expired")
    except (jwt.InvalidTokenError, TypeError) as error:
        raise BadToken(str(error)) from None
