"""`sign` and `verify` for signed callbacks: a JWT over the hash of the raw body (contract 5.9).

It implements the one form that the service uses, HS256, from the standard library, and no JWT in
general; there is no algorithm to choose, so none can be chosen by an attacker.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from nexmo_dispatch_core.checks import unencodable
from nexmo_dispatch_webhooks.checks import check_body, checks
from nexmo_dispatch_webhooks.exceptions import (
    ConfigurationError,
    MissingSignatureError,
    SignatureVerificationError,
    TokenTimeError,
)

if TYPE_CHECKING:
    from hashlib import _Hash

__all__ = ["LEEWAY", "MAX_AGE", "Claims", "Secret", "sign", "verify"]

#: A secret or several: during a rotation both the old and the new one are accepted.
Secret = str | bytes | Sequence[str | bytes]

#: The service repeats a delivery for 24 hours, perhaps with the same token; an hour of margin.
MAX_AGE: float = 25 * 3600.0
#: How far the two clocks may differ when a token seems to come from the future.
LEEWAY: float = 300.0

_ISSUER = "Vonage"
_HEADER = b"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"  # {"alg":"HS256","typ":"JWT"}
_PADDING = (b"", b"===", b"==", b"=")
# Characters outside of base64url become one that the strict decoder refuses.
_TO_STANDARD = bytes.maketrans(b"-_+/=", b"+/???")
_TO_URLSAFE = bytes.maketrans(b"+/", b"-_")
_LONGEST_TOKEN = 8192
_ONE = (str, bytes)  # a union would be made for each callback
_EMPTY = hashlib.sha256()


class Claims(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The claims of a verified callback; others are ignored (contract 5.9)."""

    iss: str
    iat: float
    jti: str
    api_key: str
    payload_hash: str | None = None
    application_id: str | None = None
    exp: float | None = None
    nbf: float | None = None
    sub: str | None = None
    aud: Any = None


class _Header(msgspec.Struct):
    alg: str
    typ: str | None = None
    crit: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_decode_claims = msgspec.json.Decoder(Claims).decode
_HEADERS = msgspec.json.Decoder(_Header)


def sign(
    body: bytes,
    *,
    secret: str | bytes,
    api_key: str,
    iat: int | None = None,
    jti: str,
    application_id: str | None = None,
) -> str:
    """Sign a body as the service does.

    Args:
        body: The raw body.
        secret: The signature secret of the account, not its API secret.
        api_key: The account.
        iat: Issued at, in epoch seconds; now when None.
        jti: A unique name of the token.
        application_id: The application; left out when None.

    Returns:
        The value of the `Authorization` header.

    Raises:
        ConfigurationError: The body is text, or a text holds half a surrogate pair or a NUL character.
    """
    check_body(body)
    checks.texts(api_key=api_key, jti=jti, application_id=application_id or "")
    claims: dict[str, Any] = {
        "iat": int(time.time()) if iat is None else iat,
        "jti": jti,
        "iss": _ISSUER,
        "payload_hash": hashlib.sha256(body).hexdigest(),
        "api_key": api_key,
    }
    if application_id is not None:
        claims["application_id"] = application_id
    signed = _HEADER + b"." + _encode(msgspec.json.encode(claims))
    return (b"Bearer " + signed + b"." + _signature(secret, signed)).decode("ascii")


def verify(
    body: bytes,
    authorization: str | bytes | None,
    *,
    secrets: Mapping[str, Secret],
    now: float | None = None,
    max_age: float | None = MAX_AGE,
    leeway: float = LEEWAY,
    require_payload_hash: bool = True,
) -> Claims:
    """Check that a body was signed with one of the secrets, before anything reads it.

    Args:
        body: The raw body, byte for byte as received.
        authorization: The value of the `Authorization` header, None when there is none.
        secrets: Signature secrets by `api_key`; several for one key while it is being changed.
        now: Epoch seconds; the clock of the machine when None.
        max_age: How old `iat` may be, in seconds. A repeated delivery may carry its first token for
            24 hours (contract 5.9, 9.26), so a short limit loses callbacks. None for no limit.
        leeway: How far, in seconds, the sender's clock may be ahead (and `exp` be past).
        require_payload_hash: False accepts a token that does not cover the body; a hash that is there
            is checked all the same.

    Returns:
        The claims. A repeated `jti` is a repeated delivery, not an attack by itself.

    Raises:
        ConfigurationError: The body is text, or the secrets of an api_key are a mapping.
        MissingSignatureError: There is no token, so the service is to repeat the request (contract 5.9).
        TokenTimeError: The token is rightly signed, and too old or too early by `now`.
        SignatureVerificationError: For anything malformed, forged or meant for another receiver;
            `claimed_api_key` is the account that the token names, once its claims can be read.
    """
    check_body(body)
    signed, payload, signature = _split(authorization)
    claims = _read_claims(payload)
    secret = secrets.get(claims.api_key)
    if not secret:
        raise _refusal(claims, "no secret is known for the api_key of the token")
    if isinstance(secret, _ONE):
        if not hmac.compare_digest(_signature(secret, signed), signature):
            raise _refusal(claims, "the signature does not match")
    elif isinstance(secret, Mapping):
        raise ConfigurationError("several secrets of one api_key are a list, not a mapping")
    elif not _matches_any(secret, signed, signature):
        raise _refusal(claims, "the signature does not match")
    if claims.payload_hash is not None:
        hashed = _EMPTY.copy()
        hashed.update(body)
        digest = hashed.hexdigest()
        expected = claims.payload_hash
        # it may hold any characters, and compare_digest refuses text that is not ASCII
        if not expected.isascii() or not hmac.compare_digest(digest, expected):
            raise _refusal(claims, "the body is not the one that was signed")
    elif require_payload_hash:
        raise _refusal(claims, "the token does not cover the body: payload_hash is missing")
    # last: only what is genuine apart from its time is worth another delivery
    _check_claims(claims, time.time() if now is None else now, max_age, leeway)
    return claims


def _refusal(claims: Claims, reason: str) -> SignatureVerificationError:
    return SignatureVerificationError(reason, claimed_api_key=claims.api_key)


def _wrong_time(claims: Claims, reason: str) -> TokenTimeError:
    return TokenTimeError(reason, claimed_api_key=claims.api_key)


def _split(authorization: str | bytes | None) -> tuple[bytes, bytes, bytes]:
    """Return the signed part, the payload and the signature of `Bearer <header>.<payload>.<signature>`."""
    if authorization is None:
        raise MissingSignatureError("the Authorization header is missing")
    if isinstance(authorization, str):
        # any character outside of ASCII becomes one that no token may hold
        authorization = authorization.encode("ascii", "replace")
    scheme, _, token = authorization.strip().partition(b" ")
    if scheme.lower() != b"bearer" or not token.strip():
        raise MissingSignatureError("the Authorization header holds no Bearer token")
    signed, _, signature = token.strip().rpartition(b".")
    header, _, payload = signed.partition(b".")
    if not signature or len(token) > _LONGEST_TOKEN:
        raise SignatureVerificationError("the Authorization header holds no signed token")
    if header != _HEADER and not _is_hs256(header):
        raise SignatureVerificationError("the token is not signed with HS256")
    return signed, payload, signature


@lru_cache(maxsize=16)
def _is_hs256(segment: bytes) -> bool:
    """Return whether a header names HS256 and no unsupported extension (RFC 7515, 4.1.11)."""
    try:
        header = _HEADERS.decode(_decode(segment))
    except (ValueError, RecursionError):
        return False
    return header.alg == "HS256" and header.crit is msgspec.UNSET


def _read_claims(payload: bytes) -> Claims:
    try:
        return _decode_claims(_decode(payload))
    except (ValueError, RecursionError):  # no base64, no JSON, a claim missing or of the wrong type
        raise SignatureVerificationError("the claims of the token are malformed") from None


def _check_claims(claims: Claims, now: float, max_age: float | None, leeway: float) -> None:
    """Check the claims by contract 5.9, and by RFC 7519 for claims that the service does not send today."""
    if claims.iss != _ISSUER:
        raise _refusal(claims, "the token has another issuer")
    if claims.aud is not None:
        raise _refusal(claims, "the token is meant for another receiver")
    if not claims.iat <= now + leeway:
        raise _wrong_time(claims, "the token was issued in the future: compare the clocks")
    if max_age is not None and not now - claims.iat <= max_age:
        raise _wrong_time(claims, "the token is too old")
    if claims.exp is not None and not now - leeway < claims.exp:
        raise _wrong_time(claims, "the token has expired")
    if claims.nbf is not None and not claims.nbf <= now + leeway:
        raise _wrong_time(claims, "the token is not valid yet")


def _matches_any(secrets: Sequence[str | bytes], signed: bytes, signature: bytes) -> bool:
    """Try every secret, also after a match, so that the time does not reveal the matching one."""
    matched = False
    for secret in secrets:
        if secret:  # an empty secret would accept any signature
            matched |= hmac.compare_digest(_signature(secret, signed), signature)
    return matched


def _signature(secret: str | bytes, signed: bytes) -> bytes:
    """Return the HMAC-SHA256 (RFC 2104) of the signed part, in base64url."""
    keyed_inner, keyed_outer = _prepared(secret)
    inner, outer = keyed_inner.copy(), keyed_outer.copy()
    inner.update(signed)
    outer.update(inner.digest())
    return _encode(outer.digest())


@lru_cache(maxsize=64)
def _prepared(secret: str | bytes) -> tuple[_Hash, _Hash]:
    """Return both keyed hashes of HMAC; `hmac.digest` makes them for each call, a twentieth of a callback."""
    if isinstance(secret, str) and (why := unencodable(secret)):
        raise ConfigurationError(f"the signature secret {why}")
    key = secret.encode() if isinstance(secret, str) else secret
    if len(key) > 64:
        key = hashlib.sha256(key).digest()
    block = key.ljust(64, b"\0")
    return hashlib.sha256(bytes(x ^ 0x36 for x in block)), hashlib.sha256(bytes(x ^ 0x5C for x in block))


def _encode(data: bytes) -> bytes:
    return binascii.b2a_base64(data, newline=False).translate(_TO_URLSAFE).rstrip(b"=")


def _decode(segment: bytes) -> bytes:
    """Decode base64url without padding; anything else raises binascii.Error, which is a ValueError."""
    return binascii.a2b_base64(segment.translate(_TO_STANDARD) + _PADDING[len(segment) & 3], strict_mode=True)
