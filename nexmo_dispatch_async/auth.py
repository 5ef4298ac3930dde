"""Credentials: the values of the `Authorization` header (contract 2).

No module here sends a request; the client fetches the tokens.
"""

from __future__ import annotations

import base64
import re
import time
import uuid
from collections.abc import Callable, Iterable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable
from urllib.parse import urlsplit

from nexmo_dispatch_async.exceptions import AuthenticationError, ConfigurationError
from nexmo_dispatch_async.models.several import several
from nexmo_dispatch_async.sansio import Request, Response, decipher_token, token_request
from nexmo_dispatch_async.urls import check_plain_http
from nexmo_dispatch_core.lenient import text_or_empty
from nexmo_dispatch_core.unfinished import shows_unfinished

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

__all__ = ["KPN_TOKEN_URL", "Auth", "BasicAuth", "BearerToken", "KpnOAuth", "RenewsEarly", "VonageJWT"]

KPN_TOKEN_URL = "https://api-prd.kpn.com/oauth/client_credential/accesstoken"  # noqa: S105 - an address


@runtime_checkable
class Auth(Protocol):
    """Interface of credentials: any object with these four methods.

    No method may block. `now` is monotonic seconds of the client's clock.
    """

    def authorization(self, now: float) -> str | None:
        """Return the value of the `Authorization` header, or `None` if a token must be fetched first."""
        ...

    def token_request(self) -> Request:
        """Return the request that fetches a token; called only after `authorization` returned `None`."""
        ...

    def receive_token(self, response: Response, now: float, *, epoch: float = 0.0) -> None:
        """Store the token of the response to `token_request`.

        Args:
            response: The response of the token endpoint.
            now: Time of receipt, in monotonic seconds of the client's clock.
            epoch: Time of receipt, in epoch seconds, for a `Retry-After` that is a date.

        Raises:
            NotSentError: The response contains no token.
        """
        ...

    def reject(self, authorization: str) -> bool:
        """Discard `authorization`, which the service refused; return whether another may be fetched."""
        ...


@runtime_checkable
class RenewsEarly(Auth, Protocol):
    """Credentials that renew a token before it expires, and can go on with the old token.

    The client requires `Auth` only. With plain `Auth`, a failed renewal fails the call, even if the old
    token is still valid.
    """

    def postpone(self, now: float) -> str | None:
        """Return the valid token that is due for renewal, and put the renewal off; `None` without one."""
        ...


def header_text(name: str, value: object) -> str:
    """Return `value`, trimmed, if it can be part of a header line. A `UUID` counts as its text.

    Raises:
        ConfigurationError: The value is empty, of another type, or has characters that no header may carry.
            The message does not show the value.
    """
    # Callers without type checking may pass any value.
    if isinstance(value, uuid.UUID):
        value = str(value)
    if value is not None and not isinstance(value, str):
        raise ConfigurationError(f"{name} must be text, not {type(value).__name__}")
    if value is None or not (value := value.strip()):
        raise ConfigurationError(f"{name} is missing")
    if not (value.isascii() and value.isprintable()):
        raise ConfigurationError(f"{name} has characters that cannot stand in an HTTP header")
    return value


class KpnOAuth:
    """KPN's OAuth 2.0 client credentials (contract 2.1).

    A token is renewed shortly before it expires, counted from its receipt: the service's own `issued_at`
    depends on clocks that may disagree. During the renewal, and after a failed one, the old token is used
    until it expires. Several clients may share one object, and with it the token.

    Args:
        client_id: Client id of the developer portal.
        client_secret: Client secret of the developer portal; never shown.
        token_url: URL of the token endpoint, with or without `grant_type`.
        renew_before: Seconds before expiry at which a token is renewed; at most half of its lifetime.
    """

    __slots__ = (
        "_authorization",
        "_client_id",
        "_client_secret",
        "_due",
        "_ends",
        "_renew_before",
        "_token_url",
    )

    def __init__(
        self,
        client_id: str,
        client_secret: str,
        token_url: str = KPN_TOKEN_URL,
        *,
        renew_before: float = 120.0,
    ) -> None:
        # Settings
        self._client_id = header_text("client_id", client_id)
        self._client_secret = header_text("client_secret", client_secret)
        self._token_url = check_url("token_url", token_url, query=True)
        check_plain_http("token_url", self._token_url, "the client id and its secret")
        self._renew_before = renew_before
        # The current token: the value of the header, when the renewal is due, and when the token expires
        self._authorization: str | None = None
        self._due = self._ends = 0.0

    @shows_unfinished
    def __repr__(self) -> str:
        state = "has a token" if self._authorization else "no token yet"
        return f"KpnOAuth(client_id=…, {state})"

    def authorization(self, now: float) -> str | None:
        """Return the value of the `Authorization` header, or `None` if a token must be fetched."""
        return self._authorization if now < self._due else None

    def token_request(self) -> Request:
        """Return the token request (contract 2.1)."""
        return token_request(self._token_url, self._client_id, self._client_secret)

    def receive_token(self, response: Response, now: float, *, epoch: float = 0.0) -> None:
        """Store the token of a response.

        Args:
            response: The response of the token endpoint.
            now: Time of receipt, in monotonic seconds of the client's clock.
            epoch: Time of receipt, in epoch seconds.

        Raises:
            AuthenticationError: The client id or the secret is wrong, whatever the status (contract 2.2).
            RateLimitError: There were too many token requests.
            TokenUnavailableError: The endpoint failed, or its success contains no token.
        """
        try:
            token, expires_in = decipher_token(response, request=self.token_request(), now=epoch)
        except AuthenticationError:
            # The old token will soon be refused as well: the next call fetches a token.
            self._due = min(self._due, now)
            raise
        life = _lifetime(expires_in)
        # `token_type` may be `BearerToken`; the header says `Bearer` in any case (contract 2.1).
        self._authorization = f"Bearer {token}"
        self._due = now + max(life - self._renew_before, life / 2)
        self._ends = now + life

    def postpone(self, now: float) -> str | None:
        """Return the valid token that is due for renewal, and put the renewal off by half a minute.

        One caller at a time renews the token, and a failing endpoint gets one request per half minute.
        """
        self._due = min(now + _PAUSE, self._ends)
        return self.authorization(now)

    def reject(self, authorization: str) -> bool:
        """Discard the token if it is the refused one; a newer token stays."""
        if authorization == self._authorization:
            self._authorization = None
            self._due = self._ends = float("-inf")
        return True


# Seconds between two attempts to renew a token that is still valid.
_PAUSE = 30.0

# Assumed lifetime, in seconds, when `expires_in` is missing or unreadable (contract 2.1).
_DEFAULT_LIFETIME = 300.0


def _lifetime(expires_in: object) -> float:
    try:
        seconds = float(text_or_empty(expires_in))
    except ValueError:
        return _DEFAULT_LIFETIME
    # NaN, infinity and absurd values count as missing; so does Apigee's -1, which means "never".
    return seconds if 0 < seconds < 1e9 else _DEFAULT_LIFETIME


class _FetchesNothing:
    """The part of `Auth` that credentials without a token endpoint do not need."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"

    def token_request(self) -> Request:
        """Raise `ConfigurationError`: these credentials fetch no token."""
        raise ConfigurationError(f"{type(self).__name__} fetches nothing")

    def receive_token(self, response: Response, now: float, *, epoch: float = 0.0) -> None:
        """Raise `ConfigurationError`: these credentials fetch no token."""
        raise ConfigurationError(f"{type(self).__name__} fetches nothing")


class _Fixed(_FetchesNothing):
    """An authorization that never changes."""

    __slots__ = ("_authorization",)

    def __init__(self, authorization: str) -> None:
        self._authorization = authorization

    def authorization(self, now: float) -> str:
        """Return the value of the `Authorization` header."""
        return self._authorization

    def reject(self, authorization: str) -> bool:
        """Return `False`: the authorization never changes."""
        return False


class BearerToken(_Fixed):
    """An access token that the caller fetched (contract 9.16). It cannot be renewed."""

    __slots__ = ()

    def __init__(self, token: str) -> None:
        super().__init__(f"Bearer {header_text('token', token)}")


class BasicAuth(_Fixed):
    """API key and secret of a Vonage account (contract 2.4).

    `BasicAuth` is simpler than `VonageJWT`, but callbacks go to the webhooks of the account instead of those
    of an application.
    """

    __slots__ = ()

    def __init__(self, api_key: str, api_secret: str) -> None:
        pair = f"{header_text('api_key', api_key)}:{header_text('api_secret', api_secret)}"
        super().__init__(f"Basic {base64.b64encode(pair.encode('ascii')).decode('ascii')}")


class VonageJWT(_FetchesNothing):
    """Tokens that the caller signs with the private key of an application (contract 2.4).

    The key is read once; a token is reused until shortly before it expires.

    Args:
        application_id: Id of the Vonage application, as text or `UUID`; callbacks go to its URLs.
        private_key: PEM text, the path of a PEM file, or a loaded RSA key. Text from an environment variable
            may have a backslash and an n as line ends, or be base64.
        lifetime: Lifetime of a token in seconds, from 30 to 86,400.
        paths: Paths that a token permits, such as `["/*/dispatch/**"]`, or one path; all paths if omitted.
        subject: The `sub` claim; no such claim if omitted.
        clock: Returns epoch seconds, which the service compares with its own clock.

    Raises:
        ConfigurationError: A setting is wrong, or the key cannot be read. The message does not show the key.
    """

    __slots__ = ("_authorization", "_claims", "_clock", "_from", "_key", "_lifetime", "_made", "_until")

    def __init__(
        self,
        application_id: str | uuid.UUID,
        private_key: str | bytes | PathLike[str] | RSAPrivateKey,
        *,
        lifetime: float = 900,
        paths: str | Iterable[str] | None = None,
        subject: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        # Settings
        self._key = _rsa_key(private_key)
        self._lifetime = _checked_lifetime(lifetime)
        self._clock = clock
        self._claims: dict[str, Any] = {"application_id": header_text("application_id", application_id)}
        if subject is not None:
            self._claims["sub"] = subject
        if paths is not None:
            self._claims["acl"] = {"paths": {path: {} for path in several("paths", paths)}}
        # The current token, and the period in which it is used
        self._authorization: str | None = None
        self._from = 0.0
        self._until = 0.0
        self._made = 0.0

    def authorization(self, now: float) -> str:
        """Return the value of the `Authorization` header, with a new token if the old one expires soon."""
        epoch = self._clock()
        used = self._lifetime - min(60.0, self._lifetime / 2)
        # With a clock that was set back, the token would be issued in the future, or be used after its end.
        fresh = self._from <= epoch < self._until and now - self._made < used
        if self._authorization is None or not fresh:
            self._authorization = f"Bearer {self.token()}"
            self._from, self._until, self._made = epoch, epoch + used, now
        return self._authorization

    def reject(self, authorization: str) -> bool:
        """Discard the token if it is the refused one."""
        if authorization == self._authorization:
            self._authorization = None
        return True

    def token(self, *, lifetime: float | None = None) -> str:
        """Return a new token for uses other than `Authorization`.

        For example, linking a Facebook page to an application (the documentation's "Set up Facebook
        Messaging") requires a token that `paths` does not restrict: see docs/authentication.md.

        Args:
            lifetime: Lifetime of this token in seconds; that of the constructor if omitted.

        Raises:
            ConfigurationError: `lifetime` is not from 30 to 86,400.
        """
        import jwt

        lifetime = self._lifetime if lifetime is None else _checked_lifetime(lifetime)
        issued = int(self._clock())
        claims = {
            **self._claims,
            "iat": issued,
            "nbf": issued,
            "exp": issued + int(lifetime),
            "jti": str(uuid.uuid4()),
        }
        return jwt.encode(claims, self._key, algorithm="RS256")


def _checked_lifetime(lifetime: float) -> float:
    if not 30 <= lifetime <= 86_400:
        raise ConfigurationError(f"lifetime must be from 30 to 86400 seconds, not {lifetime!r}")
    return lifetime


def _rsa_key(source: str | bytes | PathLike[str] | RSAPrivateKey) -> RSAPrivateKey:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

    if isinstance(source, RSAPrivateKey):
        return source
    data = _key_data(source)
    blocks = list(_PEM.finditer(data))
    try:
        if blocks:
            # A file may also contain a certificate.
            found = next((block for block in blocks if b"PRIVATE KEY" in block["label"]), blocks[0])
            _check_pem(found["label"], found["body"])
            key = load_pem_private_key(_pem(found["label"], found["body"]), password=None)
        else:
            key = load_der_private_key(data, password=None)
    except TypeError:
        raise ConfigurationError(_ENCRYPTED) from None
    except ValueError as error:
        if isinstance(error, ConfigurationError):
            raise
        raise ConfigurationError(_PUBLIC if _is_public(data) else _UNREADABLE_KEY) from None
    if not isinstance(key, RSAPrivateKey):
        raise ConfigurationError("private_key is not an RSA key")
    return key


def _is_public(data: bytes) -> bool:
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        load_der_public_key(data)
    except ValueError:
        return False
    return True


_PUBLIC = "private_key is a public key; give the private key that belongs to it"
_UNREADABLE_KEY = "private_key is neither PEM text nor a PEM file without password"
_ENCRYPTED = (
    "private_key is encrypted: take off the password (openssl pkey -in KEY -out PLAIN), or load it with "
    "cryptography and give the loaded key"
)
# A key from an environment variable may be on one line, with a backslash and an n as line ends.
_PEM = re.compile(
    rb"-----BEGIN (?P<label>[A-Z0-9 ]{1,40})-----(?P<body>.*?)(?:-----END (?P=label)-----|\Z)", re.DOTALL
)
_LINE_ENDS = re.compile(rb"\\r|\\n|\s")


def _key_data(source: str | bytes | PathLike[str]) -> bytes:
    """Return the content of the setting or of its file, with base64 decoded."""
    # Callers without type checking may pass any value.
    given = cast("object", source)
    if given is None or (isinstance(given, str | bytes) and not given.strip()):
        raise ConfigurationError("private_key is empty: give PEM text, the path of a PEM file, or a key")
    try:
        if isinstance(source, bytes):
            return _without_base64(source)
        if isinstance(source, str) and (data := _without_base64(source.encode())) != source.encode():
            return data
        if isinstance(source, str) and "-----BEGIN" in source:
            return source.encode()
        data = Path(source).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"private_key: the file cannot be read: {error.strerror}") from None
    except (ValueError, TypeError):
        raise ConfigurationError(_UNREADABLE_KEY) from None
    if not data.strip():
        raise ConfigurationError("private_key: the file is empty")
    return _without_base64(data)


def _without_base64(data: bytes) -> bytes:
    """Return the key inside base64: PEM, or DER, which begins with a long sequence; other data unchanged."""
    try:
        inner = base64.b64decode(_LINE_ENDS.sub(b"", data), validate=True)
    except ValueError:
        return data
    return inner if b"-----BEGIN" in inner or inner[:2] == b"\x30\x82" else data


def _check_pem(label: bytes, body: bytes) -> None:
    """Raise `ConfigurationError` for PEM data that is not a usable private key."""
    if b"PUBLIC KEY" in label:
        raise ConfigurationError(_PUBLIC)
    if label == b"CERTIFICATE":
        raise ConfigurationError(_PUBLIC.replace("public key", "certificate"))
    if b"ENCRYPTED" in label or b"ENCRYPTED" in body[:200]:
        raise ConfigurationError(_ENCRYPTED)
    if label == b"OPENSSH PRIVATE KEY":
        raise ConfigurationError("private_key is an OpenSSH key: convert it with ssh-keygen -p -m PEM -f KEY")


def _pem(label: bytes, body: bytes) -> bytes:
    text = _LINE_ENDS.sub(b"", body).decode("ascii")
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    name = label.decode("ascii")
    return "\n".join((f"-----BEGIN {name}-----", *lines, f"-----END {name}-----", "")).encode()


def check_url(name: str, url: str, *, query: bool = False) -> str:
    """Return `url` without a trailing slash if it is an absolute http(s) URL without credentials.

    Args:
        name: Name of the setting, for the message.
        url: Value of the setting, which the message does not show.
        query: Whether the URL may have a query; paths are appended to URLs that may not.

    Raises:
        ConfigurationError: The value is no such URL.
    """
    try:
        url = url.strip()
        parts = urlsplit(url)
        port_is_fine = parts.port is None or parts.port > 0
    except (AttributeError, ValueError):
        raise ConfigurationError(f"{name} is not a URL") from None
    if not (url.isascii() and url.isprintable() and " " not in url):
        advice = "percent-encode them, and write a host in its xn-- form"
        raise ConfigurationError(f"{name} has blanks or characters that no URL may hold: {advice}")
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_fine:
        raise ConfigurationError(f"{name} must be an absolute http or https URL")
    if "@" in parts.netloc:
        raise ConfigurationError(f"{name} must not carry credentials")
    if "#" in url or ("?" in url and not query):
        raise ConfigurationError(f"{name} must not have a {'fragment' if '#' in url else 'query'}")
    return url.rstrip("/")
