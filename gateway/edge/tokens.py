"""Login tokens and operators' tokens: JWTs (docs/PROTOCOL.md, "Tokens").

Two kinds of keys stand behind one verifier: secrets (HS256), and an issuer's public keys
(gateway/edge/key_set.py). The algorithm comes with the key, never from the token.
"""

from base64 import urlsafe_b64encode
from collections.abc import Sequence
from enum import Enum
from functools import lru_cache
from hashlib import sha256
from typing import Any, NamedTuple, Protocol

import jwt

from schemas.codes import Code
from schemas.ids import DeviceId, InvalidId, UserId, device_id, user_id

HS256 = "HS256"
_OPERATORS = "messenger-operators"
_OPERATOR_SECONDS = 60.0
LIFETIME_SECONDS = 7 * 24 * 3600
MAX_LIFETIME_SECONDS = 366 * 24 * 3600
"""No token counts that ends later than this. Revocations are kept longer, and then forgotten."""
MAX_TOKEN_BYTES = 8 * 1024
MAX_CHECKED = 20_000
"""Tokens whose signatures need not be checked again, some 1 KiB each: devices come back with the
token that they had. Beyond it all are forgotten."""


class Why(Enum):
    """Why a token is not taken: its name in metrics, and the reply code."""

    MISSING = "missing", Code.UNAUTHORIZED
    WRONG = "wrong", Code.UNAUTHORIZED
    EXPIRED = "expired", Code.TOKEN_EXPIRED
    NOT_YET = "not_yet", Code.UNAUTHORIZED
    OTHER_DEVICE = "other_device", Code.TOKEN_OF_ANOTHER
    REVOKED = "revoked", Code.TOKEN_REVOKED

    def __init__(self, label: str, code: Code) -> None:
        self.label = label
        self.code = code


class BadToken(ValueError):
    """The token is not taken; the text is a sentence for people."""

    def __init__(self, text: str, why: Why = Why.WRONG) -> None:
        super().__init__(text)
        self.why = why


class Login(NamedTuple):
    """What a good token says. `device`: the only one that it is for, None if it names none.
    `expires` is when it is not taken any more, the leeway included, `issued` when it was made (0 if
    it does not say); both are Unix seconds."""

    user: UserId
    device: DeviceId | None
    expires: float
    issued: float


class TokenVerifier(Protocol):
    def verify(self, token: str, now: float) -> Login:
        """What the token says at `now` (Unix seconds). Raises BadToken."""


class TokenRules(NamedTuple):
    """What a token must say beside its signature. Empty `issuer` or `audience`: any issuer, and no
    audience. `leeway` (s) forgives clocks that differ. `names_device`: it must name one."""

    issuer: str = ""
    audience: str = ""
    leeway: float = 0.0
    names_device: bool = False


class TokenKeys(Protocol):
    def of(self, token: str) -> Sequence[jwt.PyJWK]:
        """The keys that may have signed it. Raises jwt.InvalidTokenError."""


class Secrets:
    """The secrets of HS256: the one that signs, and the one before it while that is replaced."""

    def __init__(self, secret: str, previous: str | None = None) -> None:
        self._keys = [_key(one) for one in (secret, previous) if one]

    def of(self, token: str) -> Sequence[jwt.PyJWK]:
        return self._keys


class JwtVerifier:
    """`TokenVerifier`. Of several groups of keys, the first that knows a key for the token
    decides."""

    def __init__(self, keys: Sequence[TokenKeys], rules: TokenRules) -> None:
        self._keys = keys
        self._rules = rules
        self._checked: dict[bytes, tuple[jwt.PyJWK, dict[str, Any]]] = {}
        """Digest of a token → the key that has signed it, and its claims. It counts as long as that
        key does. Times and revocations are looked at each time."""
        self._options: Any = {
            **_UNCHECKED_TIMES,
            "require": ["sub", "exp"],
            "verify_aud": True,
        }

    def verify(self, token: str, now: float) -> Login:
        if not token:
            raise BadToken("the token is missing", Why.MISSING)
        try:
            return self._login(self._claims(token), now)
        except (jwt.InvalidTokenError, InvalidId, TypeError, ValueError) as error:
            if isinstance(error, BadToken):
                raise
            raise BadToken("the token is not one that this server takes") from None

    def _claims(self, token: str) -> dict[str, Any]:
        if len(token) > MAX_TOKEN_BYTES:
            raise jwt.InvalidTokenError
        digest = sha256(token.encode()).digest()
        signed_by, claims = self._checked.get(digest, (None, {}))
        for keys in self._keys:
            for key in keys.of(token):
                if key is signed_by:
                    return claims
                try:
                    claims = self._decode(token, key)
                except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError):
                    continue
                if len(self._checked) >= MAX_CHECKED:
                    self._checked.clear()
                self._checked[digest] = key, claims
                return claims
        raise jwt.InvalidSignatureError

    def _decode(self, token: str, key: jwt.PyJWK) -> dict[str, Any]:
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[key.algorithm_name],
            audience=self._rules.audience or None,
            issuer=self._rules.issuer or None,
            options=self._options,
        )
        return claims

    def _login(self, claims: dict[str, Any], now: float) -> Login:
        rules = self._rules
        expires = _time(claims["exp"])
        if expires > now + MAX_LIFETIME_SECONDS + rules.leeway:
            raise BadToken("the token ends too late: at most 366 days from now")
        expires += rules.leeway
        if not expires > now:
            raise BadToken("the token has expired", Why.EXPIRED)
        if "nbf" in claims and _time(claims["nbf"]) > now + rules.leeway:
            raise BadToken("the token is not valid yet", Why.NOT_YET)
        issued = _time(claims["iat"]) if "iat" in claims else 0.0
        if issued > now + rules.leeway:
            raise BadToken("the token was made in the future", Why.NOT_YET)
        named = claims.get("device")
        if named is None and rules.names_device:
            raise BadToken("the token names no device", Why.OTHER_DEVICE)
        device = None if named is None else device_id(named)
        return Login(user_id(claims["sub"]), device, expires, issued)


_UNCHECKED_TIMES = {"verify_exp": False, "verify_iat": False, "verify_nbf": False}
"""We compare times ourselves: PyJWT takes strings for numbers, and reads the machine's clock."""


def _time(value: object) -> float:
    """Unix seconds. Raises ValueError for what is no time."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value <= 2**53:  # type: ignore[operator]  # so also if it is NaN
        raise ValueError("not a time")
    return float(value)  # type: ignore[arg-type]


@lru_cache(8)
def _key(secret: str) -> jwt.PyJWK:
    """The secret as a key that PyJWT has looked at already, which is a third of a check."""
    octets = urlsafe_b64encode(secret.encode()).rstrip(b"=").decode()
    return jwt.PyJWK({"kty": "oct", "k": octets, "alg": HS256})


def issue(
    user: UserId,
    secret: str,
    now: float,
    lifetime: float = LIFETIME_SECONDS,
    device: str | None = None,
) -> str:
    """A token for `user`, valid from `now` (Unix seconds) for `lifetime` seconds, on any device or
    on one."""
    # To the millisecond: a token that is made right after others were revoked counts.
    claims = {"sub": user, "iat": round(now, 3), "exp": int(now + lifetime)}
    if device is not None:
        claims["device"] = device
    return jwt.encode(claims, secret, algorithm=HS256)


def issue_operator(secret: str, now: float) -> str:
    """A token for one request of an operator, valid for a minute. No device can log in with it."""
    claims = {"aud": _OPERATORS, "iat": int(now), "exp": int(now + _OPERATOR_SECONDS)}
    return jwt.encode(claims, secret, algorithm=HS256)


def verify_operator(token: str, secret: str | None, now: float) -> None:
    """Raises BadToken unless the token is an operator's. Without a secret none is."""
    if secret is None:
        raise BadToken("this gateway has no MESSENGER_OPERATOR_SECRET")
    if not token:
        raise BadToken("the token is missing", Why.MISSING)
    try:
        claims = jwt.decode(
            token,
            _key(secret),
            algorithms=[HS256],
            audience=_OPERATORS,
            options={**_UNCHECKED_TIMES, "require": ["aud", "exp"]},  # type: ignore[arg-type]
        )
        expires = _time(claims["exp"])
    except (jwt.InvalidTokenError, TypeError, ValueError):
        raise BadToken("the token is not an operator's") from None
    if not now < expires <= now + 2 * _OPERATOR_SECONDS:
        raise BadToken("the token has expired, or is valid for too long", Why.EXPIRED)
