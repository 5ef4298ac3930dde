"""Who the caller is: the ways to fill the `Authorization` header (contract 2).

It fetches nothing and waits for nothing: the client carries the requests and answers.
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

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

__all__ = ["KPN_TOKEN_URL", "Auth", "BasicAuth", "BearerToken", "KpnOAuth", "RenewsEarly", "VonageJWT"]

KPN_TOKEN_URL = "https://api-prd.kpn.com/oauth/client_credential/accesstoken"  # noqa: S105 - an address


@runtime_checkable
class Auth(Protocol):
    """What the client asks of credentials. Anything with these four methods will do.

    None of them may wait. `now` counts seconds on the client's own clock, whose zero means nothing.
    """

    def authorization(self, now: float) -> str | None:
        """Return the value of the `Authorization` header, or `None` if a token has to be fetched first."""
        ...

    def token_request(self) -> Request:
        """Return the request that fetches a token; called only after `authorization` returned `None`."""
        ...

    def receive_token(self, response: Response, now: float, *, epoch: float = 0.0) -> None:
        """Take the answer to `token_request`; raise a `NotSentError` if there is no token in it.

        `now` is the time of receipt on the client's clock; `epoch` is the same moment in epoch seconds,
        in case the answer names a date to come back at.
        """
        ...

    def reject(self, authorization: str) -> bool:
        """Hear that the service refused `authorization`; return whether asking again may yield another."""
        ...


@runtime_checkable
class RenewsEarly(Auth, Protocol):
    """Credentials that ask for a new token while the old one is good, and can go on with the old one.

    `Auth` is enough for the client; without this, a token that cannot be renewed early fails the call.
    """

    def postpone(self, now: float) -> str | None:
        """Return the token that is due but still good, and offer it for a while; `None` if there is none."""
        ...


def header_text(name: str, value: object) -> str:
    """Return `value`, trimmed, if it can be part of a header line. A `UUID` is as good as its text.

    Raises:
        ConfigurationError: It is empty, of another type, or has characters that no header may carry. The
            value is not shown.
    """
    # Callers without type checking, and environment variables, hold anything.
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

    A new token is asked for shortly before the old one ends, counted from the moment of its receipt: the
    service's own `issued_at` depends on clocks that may disagree. Until it is there, and if there is none to
    be had, the old one is used to its end. One object may serve several clients, which then share the token.

    Args:
        client_id: From the developer portal.
        client_secret: The same; never shown.
        token_url: The token endpoint, with or without its `grant_type`.
        renew_before: Ask for a new token this many seconds before the old one ends. At most half of a
            token's life is given up, however short it is.
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
        # The current token: the header value, when to ask for another, and when it is over
        self._authorization: str | None = None
        self._due = self._ends = 0.0

    def __repr__(self) -> str:
        state = "has a token" if self._authorization else "no token yet"
        return f"KpnOAuth(client_id=…, {state})"

    def authorization(self, now: float) -> str | None:
        """Return the `Authorization` header, or `None` if a token is due."""
        return self._authorization if now < self._due else None

    def token_request(self) -> Request:
        """Return the token request (contract 2.1)."""
        return token_request(self._token_url, self._client_id, self._client_secret)

    def receive_token(self, response: Response, now: float, *, epoch: float = 0.0) -> None:
        """Keep the token that was answered.

        Raises:
            AuthenticationError: The client id or the secret is wrong, whatever the status (contract 2.2).
            RateLimitError: Too many token requests.
            TokenUnavailableError: The endpoint fails, or answers success without a token.
        """
        try:
            token, expires_in = decipher_token(response, request=self.token_request(), now=epoch)
        except AuthenticationError:
            # The old token will not be good for long either: every call gets the new one.
            self._due = min(self._due, now)
            raise
        life = _lifetime(expires_in)
        # `token_type` may be `BearerToken`; the header says `Bearer` in any case (contract 2.1).
        self._authorization = f"Bearer {token}"
        self._due = now + max(life - self._renew_before, life / 2)
        self._ends = now + life

    def postpone(self, now: float) -> str | None:
        """Return the token that is due but still good, and offer it for half a minute more.

        So one caller at a time asks for a new one, and an endpoint that is down is left alone in between.
        """
        self._due = min(now + _PAUSE, self._ends)
        return self.authorization(now)

    def reject(self, authorization: str) -> bool:
        """Forget the token if it is the one that was refused; a newer one stays."""
        if authorization == self._authorization:
            self._authorization = None
            self._due = self._ends = float("-inf")
        return True


# How long a token that is due is used before the next try to renew it, in seconds.
_PAUSE = 30.0

# Contract 2.1: what to assume when `expires_in` is missing or unreadable.
_DEFAULT_LIFETIME = 300.0


def _lifetime(expires_in: object) -> float:
    try:
        seconds = float(text_or_empty(expires_in))
    except ValueError:
        return _DEFAULT_LIFETIME
    # NaN, infinity and nonsense are as good as nothing; so is Apigee's -1, which stands for "never".
    return seconds if 0 < seconds < 1e9 else _DEFAULT_LIFETIME


class _FetchesNothing:
    """The half of `Auth` that does not apply where there is always an authorization."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"

    def token_request(self) -> Request:
        """Never called: there is always an authorization."""
        raise ConfigurationError(f"{type(self).__name__} fetches nothing")

    def receive_token(self, response: Response, now: float, *, epoch: float = 0.0) -> None:
        """Never called: there is always an authorization."""
        raise ConfigurationError(f"{type(self).__name__} fetches nothing")


class _Fixed(_FetchesNothing):
    """An authorization that never changes."""

    __slots__ = ("_authorization",)

    def __init__(self, authorization: str) -> None:
        self._authorization = authorization

    def authorization(self, now: float) -> str:
        """Return the `Authorization` header."""
        return self._authorization

    def reject(self, authorization: str) -> bool:
        """Return `False`: asking again would yield the same."""
        return False


class BearerToken(_Fixed):
    """A ready access token, for those who fetch it themselves (contract 9.16). It cannot be renewed."""

    __slots__ = ()

    def __init__(self, token: str) -> None:
        super().__init__(f"Bearer {header_text('token', token)}")


class BasicAuth(_Fixed):
    """API key and secret of a Vonage account (contract 2.4).

    Simpler than `VonageJWT`, but callbacks then go to the webhooks of the account, not to those of an
    application.
    """

    __slots__ = ()

    def __init__(self, api_key: str, api_secret: str) -> None:
        pair = f"{header_text('api_key', api_key)}:{header_text('api_secret', api_secret)}"
        super().__init__(f"Basic {base64.b64encode(pair.encode('ascii')).decode('ascii')}")


class VonageJWT(_FetchesNothing):
    """Tokens that the caller signs with the private key of an application (contract 2.4).

    The key is read once; a token is kept until shortly before its end.

    Args:
        application_id: Of the Vonage application, as text or `UUID`; callbacks go to its URLs.
        private_key: PEM text, the path of a PEM file, or a loaded RSA key. Text from an environment variable
            may have its line ends written as backslash and n, or be in base64.
        lifetime: Seconds that a token is valid, from 30 to 86,400.
        paths: What tokens may be used for, such as `["/*/dispatch/**"]`, or one path; everything if omitted.
        subject: The `sub` claim, if one is wanted.
        clock: Epoch seconds. The service compares them with its own.

    Raises:
        ConfigurationError: A setting is wrong, or the key cannot be read. The key is not shown.
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
        # The current token and the time in which it is used
        self._authorization: str | None = None
        self._from = 0.0
        self._until = 0.0
        self._made = 0.0

    def authorization(self, now: float) -> str:
        """Return the `Authorization` header, with a new token if the old one is about to end."""
        epoch = self._clock()
        used = self._lifetime - min(60.0, self._lifetime / 2)
        # A clock that was set back would leave a token from the future, or use one for longer than it lives.
        fresh = self._from <= epoch < self._until and now - self._made < used
        if self._authorization is None or not fresh:
            self._authorization = f"Bearer {self.token()}"
            self._from, self._until, self._made = epoch, epoch + used, now
        return self._authorization

    def reject(self, authorization: str) -> bool:
        """Forget the token if it is the one that was refused."""
        if authorization == self._authorization:
            self._authorization = None
        return True

    def token(self, *, lifetime: float | None = None) -> str:
        """Return a new token, for other uses than `Authorization`.

        Linking a Facebook page to an application (the documentation's "Set up Facebook Messaging") asks
        for one, for instance, which `paths` must not restrict: see docs/authentication.md.

        Args:
            lifetime: Instead of the usual one, in seconds.

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
            # A file may hold a certificate besides.
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
# A key from an environment variable may be on one line, its line ends written as backslash and n.
_PEM = re.compile(
    rb"-----BEGIN (?P<label>[A-Z0-9 ]{1,40})-----(?P<body>.*?)(?:-----END (?P=label)-----|\Z)", re.DOTALL
)
_LINE_ENDS = re.compile(rb"\\r|\\n|\s")


def _key_data(source: str | bytes | PathLike[str]) -> bytes:
    """What a setting or a file holds; base64 around it is taken off."""
    # Callers without type checking, and environments, pass anything.
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
    """The key inside of base64, if it is that: PEM, or DER, which begins with a long sequence."""
    try:
        inner = base64.b64decode(_LINE_ENDS.sub(b"", data), validate=True)
    except ValueError:
        return data
    return inner if b"-----BEGIN" in inner or inner[:2] == b"\x30\x82" else data


def _check_pem(label: bytes, body: bytes) -> None:
    """Name what is PEM and no private key that can be used."""
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
    """Return `url` without a trailing slash if it is an absolute http(s) address without credentials.

    Args:
        name: The setting, for the message.
        url: Its value, which is not shown.
        query: Whether it may have a query; paths are appended to those that may not.

    Raises:
        ConfigurationError: It is not.
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
