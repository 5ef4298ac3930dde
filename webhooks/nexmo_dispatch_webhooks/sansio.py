"""`from_http`: from request to event without I/O, and the kinds of verification.

The module reads no socket and runs no handler; adapters pass headers and the raw body.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from nexmo_dispatch_core.unfinished import shows_unfinished
from nexmo_dispatch_webhooks.checks import check_body, check_secret, check_secrets
from nexmo_dispatch_webhooks.events import Event, parse_event
from nexmo_dispatch_webhooks.exceptions import (
    ConfigurationError,
    CrossSiteRequestError,
    MissingSignatureError,
    SignatureVerificationError,
    UnsupportedMediaTypeError,
)
from nexmo_dispatch_webhooks.signature import LEEWAY, MAX_AGE, Claims, Secret, verify

__all__ = [
    "Answer",
    "HmacVerification",
    "JwtVerification",
    "PathSecretVerification",
    "RawRequest",
    "Verification",
    "authenticate",
    "from_http",
]

Clock = Callable[[], float]
#: 22 characters of base64url hold 128 bits; others than RFC 3986's unreserved ones have several spellings.
_PATH_SECRET = re.compile(r"[A-Za-z0-9._~-]{22,}")


class RawRequest(msgspec.Struct, frozen=True, gc=False):
    """A request as received.

    `headers` is read by lower-case names: a dict with such names, or a mapping that ignores case.
    `path` is the part below the mount point.
    """

    headers: Mapping[str, str]
    body: bytes
    path: str = ""
    method: str = "POST"

    def __repr__(self) -> str:
        return f"RawRequest(method={self.method!r}, {len(self.body)} bytes)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("method", self.method), ("size", len(self.body))]


class Answer(msgspec.Struct, frozen=True):
    """The receiver's HTTP response: 200, or a status of contract 5.10 with a short text, no personal data."""

    status: int = 200
    text: str = ""


class Verification(Protocol):
    """Decides whether a request is authentic, from its headers, raw body and path."""

    def verify(self, request: RawRequest) -> Claims | None:
        """Return the claims of the sender; raise SignatureVerificationError to refuse.

        MissingSignatureError, one of them, refuses what is not signed at all, so that it comes again.

        A plain function: anything else that it returns, such as a coroutine, is answered with 500.

        A verification that reads a secret from the path also has `public_path(path)`, which gives the path
        without it: handlers, logs and records see only that one.
        """


class JwtVerification:
    """Signed callbacks by JWT (contract 5.9), with `secrets` by `api_key`, several for a rotation.

    Args:
        secrets: A secret, or several, for each `api_key`.
        max_age: See `signature.verify`.
        leeway: See `signature.verify`.
        require_payload_hash: See `signature.verify`.
        clock: Returns epoch seconds.

    Raises:
        ConfigurationError: There is no secret, or an empty secret, which accepts any signature.
    """

    def __init__(
        self,
        secrets: Mapping[str, Secret],
        *,
        max_age: float | None = MAX_AGE,
        leeway: float = LEEWAY,
        require_payload_hash: bool = True,
        clock: Clock = time.time,
    ) -> None:
        check_secrets(secrets)
        self._secrets = {**secrets}
        self._max_age = max_age
        self._leeway = leeway
        self._require_payload_hash = require_payload_hash
        self._clock = clock

    def verify(self, request: RawRequest) -> Claims:
        """Check the token of the `Authorization` header against the body."""
        return verify(
            request.body,
            request.headers.get("authorization"),
            secrets=self._secrets,
            now=self._clock(),
            max_age=self._max_age,
            leeway=self._leeway,
            require_payload_hash=self._require_payload_hash,
        )

    @property
    def api_keys(self) -> frozenset[str]:
        """Return the accounts whose callbacks are accepted."""
        return frozenset(self._secrets)

    @shows_unfinished
    def __repr__(self) -> str:
        return f"JwtVerification({len(self._secrets)} api keys)"


class HmacVerification:
    """HMAC-SHA256 of the raw body, in hex, in a header: KPN's signing of its own webhooks.

    Nothing says that callbacks of Dispatch carry it (contract 5.9), so it is never on by itself. The
    signature does not cover a time: a copied request stays valid.

    Args:
        secret: The key or, during a rotation, the keys.
        header: The header that holds the signature.
    """

    #: Its signatures name no account.
    api_keys: frozenset[str] = frozenset()

    def __init__(self, secret: Secret, *, header: str = "X-KPN-Webhook-Signature") -> None:
        several = check_secret("the signing key", secret)
        self._keys = [item.encode() if isinstance(item, str) else item for item in several]
        self._header = header.lower()

    def verify(self, request: RawRequest) -> None:
        """Compare in constant time, with every key."""
        check_body(request.body)
        given = request.headers.get(self._header, "").strip().lower().encode("utf-8", "surrogatepass")
        if not given:
            raise MissingSignatureError("the signature header is missing")
        matched = False
        for key in self._keys:
            matched |= hmac.compare_digest(
                hmac.digest(key, request.body, hashlib.sha256).hex().encode(), given
            )
        if not matched:
            raise SignatureVerificationError("the signature header does not match")


class PathSecretVerification:
    """A secret last segment of the URL, for senders without signatures: `…/webhooks/<secret>`.

    The secret proves that the sender knows the URL, but does not protect the body; keep paths out of access
    logs. Handlers and records get the path without the secret.

    Args:
        secret: At least 22 characters (128 bits) of letters, digits and `-._~`, as from
            `secrets.token_urlsafe()`.

    Raises:
        ConfigurationError: The secret is shorter, or has a character that URLs escape.
    """

    #: The path names no account.
    api_keys: frozenset[str] = frozenset()

    def __init__(self, secret: str) -> None:
        text, *more = check_secret("the path secret", secret)
        if more or isinstance(text, bytes) or not _PATH_SECRET.fullmatch(text):
            raise ConfigurationError(
                "the path secret must be one text of 22 characters or more, letters, digits and -._~ only; "
                'make one with: python -c "import secrets; print(secrets.token_urlsafe())"'
            )
        self._secret = text.encode()

    def verify(self, request: RawRequest) -> None:
        """Compare the last segment of the path in constant time."""
        given = request.path.rstrip("/").rpartition("/")[2].encode("utf-8", "surrogatepass")
        if not hmac.compare_digest(given, self._secret):
            raise SignatureVerificationError("the path does not hold the secret")

    def public_path(self, path: str) -> str:
        """Return the path without its last segment."""
        return path.rstrip("/").rpartition("/")[0]


def from_http(
    headers: Mapping[str, str],
    body: bytes,
    *,
    verification: Verification | None,
    path: str = "",
    strict: bool = False,
) -> tuple[Event, Claims | None]:
    """Verify a callback, then parse it: headers and bytes in, event or typed error out.

    Args:
        headers: The request headers, in any case; of several with one name the first counts.
        body: The raw body.
        verification: The verification. Required; None accepts requests of any origin.
        path: The path below the mount point, for verifications that use it.
        strict: See `parse_event`.

    Returns:
        The event, and the claims of its token (None without verification by token).

    Raises:
        MissingSignatureError: The request is not signed (503: the service repeats it, signed).
        SignatureVerificationError: The request is not authentic (401).
        CrossSiteRequestError: There is no verification, and a web page made the request (403).
        UnsupportedMediaTypeError: There is no verification, and the content type is not JSON (415).
        InvalidBodyError: The body is not a JSON object (400).
        ConfigurationError: The body is text, or the verification returned neither claims nor None.
    """
    check_body(body)
    first: dict[str, str] = {}  # of several headers with one name, as the adapters do
    for name, value in headers.items():
        first.setdefault(name.lower(), value)
    request = RawRequest(first, body, path)
    claims = authenticate(request, verification)
    return parse_event(body, strict=strict), claims


def authenticate(request: RawRequest, verification: Verification | None) -> Claims | None:
    """Verify a request, or without a verification check that no web page made it; return its claims.

    An authentic request is accepted with any content type, since the service does not repeat a callback that
    is refused with a 4xx (contract 5.10). A missing content type is always accepted.

    Without a verification only requests that no web page can make are accepted: a page may post to every
    address that its visitor's browser reaches, even behind a firewall. The browser adds `Sec-Fetch-Site` and
    `Origin`, and no page can prevent that. The receiver's own origin is refused as well: a page whose name is
    rebound to this address (DNS rebinding) has that origin.

    Raises:
        SignatureVerificationError: The request is not authentic.
        CrossSiteRequestError: There is no verification, and a browser made the request for a page.
        UnsupportedMediaTypeError: There is no verification, and the content type is not JSON.
        ConfigurationError: The verification returned neither claims nor None, so it may not have checked.
    """
    if verification is None:
        if "origin" in request.headers or "sec-fetch-site" in request.headers:
            raise CrossSiteRequestError(
                "a web page made this request: where nothing is verified, a request with Origin or "
                "Sec-Fetch-Site is refused"
            )
        media_type = request.headers.get("content-type", "")
        if media_type != "application/json" and not _is_json(media_type):
            raise UnsupportedMediaTypeError("the content type is not JSON")
        return None
    claims: Any = verification.verify(request)  # whatever others return
    if claims is None or isinstance(claims, Claims):
        return claims
    raise ConfigurationError(
        f"{type(verification).__qualname__}.verify returned {type(claims).__qualname__}, not Claims or None"
    )


def _is_json(media_type: str) -> bool:
    media_type = media_type.partition(";")[0].strip().lower()
    return not media_type or media_type in {"application/json", "text/json"} or media_type.endswith("+json")
