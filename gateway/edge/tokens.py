"""Login tokens: JWTs signed with HS256. `sub` is the user, `exp` the end in Unix seconds. Anybody
with the secret can make them."""

from base64 import urlsafe_b64encode
from functools import lru_cache

import jwt

from schemas.ids import InvalidId, UserId, user_id

_ALGORITHM = "HS256"
_OPERATORS = "messenger-operators"
_OPERATOR_SECONDS = 60.0
LIFETIME_SECONDS = 7 * 24 * 3600


class BadToken(ValueError):
    """The token is missing, wrong or expired."""


def issue(user: UserId, secret: str, now: float, lifetime: float = LIFETIME_SECONDS) -> str:
    """A token for `user`, valid from `now` (Unix seconds) for `lifetime` seconds."""
    return jwt.encode(
        {"sub": user, "iat": int(now), "exp": int(now + lifetime)}, secret, algorithm=_ALGORITHM
    )


def verify(token: str, secret: str, now: float) -> UserId:
    """The user a token speaks for. Raises BadToken, with a sentence for people."""
    if not token:
        raise BadToken("the token is missing")
    unchecked_times = {
        "verify_exp": False,
        "verify_iat": False,
        "verify_nbf": False,
        "require": ["sub", "exp"],
    }
    try:
        claims = jwt.decode(token, _key(secret), algorithms=[_ALGORITHM], options=unchecked_times)  # type: ignore[arg-type]
        if not isinstance(claims["exp"], int | float) or not claims["exp"] > now:  # also if NaN
            raise BadToken("the token has expired")
        return user_id(claims["sub"])
    except (jwt.InvalidTokenError, InvalidId, TypeError):
        raise BadToken("the token is not one that this server takes") from None


@lru_cache(1)
def _key(secret: str) -> jwt.PyJWK:
    """The secret as a key that PyJWT has looked at already, which is a third of a check."""
    octets = urlsafe_b64encode(secret.encode()).rstrip(b"=").decode()
    return jwt.PyJWK({"kty": "oct", "k": octets, "alg": _ALGORITHM})


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
