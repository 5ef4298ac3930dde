"""Builds the bytes of every request, and turns the bytes of every response into a value or a typed error.

The functions here open no connection, read no clock and keep no state.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import msgspec

from nexmo_dispatch_async.exceptions import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    NotAcceptedError,
    NotFoundError,
    OutcomeUnknownError,
    PaymentRequiredError,
    PermissionDeniedError,
    ProtocolError,
    ProxyError,
    RateLimitError,
    RefusedError,
    TokenUnavailableError,
)
from nexmo_dispatch_async.models.problems import Problem, gateway_reason, parse_problem
from nexmo_dispatch_async.models.responses import (
    Application,
    ApplicationPage,
    Dispatch,
    application_of,
    embedded_of,
)
from nexmo_dispatch_async.models.shown import AsShown
from nexmo_dispatch_async.quota import quota_of, retry_after
from nexmo_dispatch_async.redaction import request_words
from nexmo_dispatch_core.lenient import UNREADABLE, parse_object, text_or_empty, to_int

__all__ = [
    "Headers",
    "Request",
    "Response",
    "application_request",
    "decipher_application",
    "decipher_dispatch",
    "decipher_nothing",
    "decipher_page",
    "decipher_response",
    "decipher_token",
    "dispatch_request",
    "observed",
    "retry_after",
    "token_request",
]

T = TypeVar("T")


class _Accepted(msgspec.Struct, gc=False):
    """The only member of the response that matters; the other members of `Dispatch` are the client's own."""

    dispatch_uuid: str


_decode_accepted = msgspec.json.Decoder(_Accepted).decode

_JSON = "application/json"
_FORM = "application/x-www-form-urlencoded"


class Headers(dict[str, str]):
    """Header fields by lower-case name, for callers without a multidict."""

    def __init__(self, fields: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        super().__init__({name.lower(): value for name, value in dict(fields).items()})

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(name.lower())

    def get(self, name: str, default: Any = None) -> Any:
        """Return the field, or `default`."""
        return super().get(name.lower(), default)


class Request(AsShown, msgspec.Struct, frozen=True, gc=False):
    """A request without its authorization, which is added just before the request is written.

    Attributes:
        method: The HTTP method.
        url: The URL.
        headers: The header fields.
        body: The body; None without one.
        template: The path without ids, for errors and logs: `/applications/{id}`.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None
    template: str

    @property
    def summary(self) -> str:
        """Method and URL template, which contain no private data."""
        return f"{self.method} {self.template}"

    def __repr__(self) -> str:
        return f"Request({self.summary!r})"


class Response(AsShown, msgspec.Struct, frozen=True, gc=False):
    """A complete response.

    Attributes:
        status: The HTTP status.
        headers: A mapping that ignores the case of names.
        body: The body, decompressed.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"Response({self.status}, {len(self.body)} bytes)"


# --- requests -------------------------------------------------------------------------------------


def dispatch_request(base_url: str, headers: Mapping[str, str], body: bytes) -> Request:
    """Build `POST /dispatch` (contract 1.3, 3); `headers` carry the `ApplicationId`."""
    return Request("POST", f"{base_url}/dispatch", headers, body, "/dispatch")


def token_request(token_url: str, client_id: str, client_secret: str) -> Request:
    """Build the token request (contract 2.1): the grant type in the query, the credentials in a form body."""
    parts = urlsplit(token_url)
    query = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] != "grant_type"]
    query.append(("grant_type", "client_credentials"))
    url = urlunsplit((parts.scheme, parts.netloc, parts.path, urlencode(query), ""))
    body = urlencode({"client_id": client_id, "client_secret": client_secret}).encode("ascii")
    return Request("POST", url, {"Content-Type": _FORM, "Accept": _JSON}, body, parts.path)


def application_request(
    method: str,
    base_url: str,
    path: str,
    application_id: str = "",
    *,
    fields: Mapping[str, Any] | None = None,
    encoding: str = "json",
) -> Request:
    """Build one of the five application calls (contract 4.1).

    Args:
        method: The HTTP method.
        base_url: Base URL of the service.
        path: Path of the applications below the base URL.
        application_id: Id of the application; empty for the whole collection.
        fields: Fields of the application, or of the query.
        encoding: Where `fields` go: `json` or `form` body, or `query`; the sources disagree (contract 9.8).
    """
    url, template = f"{base_url}{path}", path
    if application_id:
        url, template = f"{url}/{quote(application_id, safe='')}", f"{path}/{{id}}"
    headers = {"Accept": _JSON}
    body: bytes | None = None
    if fields is None:
        pass
    elif encoding == "json":
        body = msgspec.json.encode(fields)
        headers["Content-Type"] = _JSON
    elif encoding == "form":
        body = urlencode(fields).encode("ascii")
        headers["Content-Type"] = _FORM
    elif fields:
        url = f"{url}?{urlencode(fields)}"
    return Request(method, url, headers, body, template)


# --- responses ------------------------------------------------------------------------------------


def decipher_response(
    response: Response,
    decode: Callable[[Response], T],
    *,
    request: Request | None = None,
    now: float = 0.0,
    secret: str | None = None,
) -> T:
    """Return the decoded value of a successful response; raise the typed error of any other response.

    The body takes precedence over the status, because the gateway may send a rejected token or an exhausted
    quota as 500 (contract 2.3, 3.8, 9.17, 9.18). Only the gateway's own text counts, and only words that the
    request does not contain: a service that quotes the request must not cause a second send.

    Args:
        response: The response.
        decode: Decodes a successful response; raises `ProtocolError` for a body that it does not understand.
        request: The request; the error does not quote the values of its body.
        now: Epoch seconds, to turn a date in a header into seconds; 0 if unknown.
        secret: The authorization of the request; the error does not quote it.

    Raises:
        APIError: One of its subclasses.
    """
    status = response.status
    if 200 <= status < 300:
        try:
            return decode(response)
        except ProtocolError as error:
            if request is None:
                raise
            message = f"{request.summary}: {error.message}"
            raise ProtocolError(message, body=error.body, request=request.summary, status=status) from None
    details = parse_problem(response.body)
    kind = _classify(status, details, request)
    wait = retry_after(response.headers, now=now, quota=kind is RateLimitError) if status >= 400 else None
    summary = request.summary if request is not None else ""
    message = f"{summary}: {status}" if summary else f"{status}"
    body, url = (request.body, request.url) if request is not None else (None, "")
    explanation = details.summary(body=body, url=url, secret=secret)
    if explanation:
        message += f" {explanation}"
    if kind is ProtocolError:
        first = response.body[:1000]
        raise ProtocolError(message, body=first, request=summary, status=status, details=details)
    failure = kind(message, request=summary, status=status, details=details, retry_after=wait)
    failure.quota = quota_of(response.headers, now=now)
    if isinstance(failure, RefusedError):
        failure.reason = details.reason(body=body, url=url)
    raise failure


# Words of a refusal that decide whatever the status, in lower case (contract 2.2, 2.3, 3.8).
_NO_PRODUCT = ("apiproductmatchfound", "no apiproduct match")
_RATE_LIMITED = ("policies.ratelimit", "quotaviolation", "spikearrestviolation")
_TOKEN_REJECTED = (
    "invalid_access_token",
    "access_token_expired",
    "invalidaccesstoken",
    "accesstokenexpired",
    "access_token_not_approved",
    "invalid access token",
    "access token expired",
)
_BAD_CLIENT = ("invalid_client", "clientid is invalid", "invalidclientidentifier")

_BY_STATUS: dict[int, type[APIError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    402: PaymentRequiredError,
    403: PermissionDeniedError,
    404: NotFoundError,
    # Only a proxy sends 407, and it forwarded nothing (RFC 9110, 15.5.8).
    407: ProxyError,
    # 408, 421 and 425: a proxy on the way did not take the request (contract 6.2).
    408: NotAcceptedError,
    409: ConflictError,
    421: NotAcceptedError,
    422: BadRequestError,
    425: NotAcceptedError,
    429: RateLimitError,
    # 307 and 308: the request was not processed; other redirects may follow a processed request.
    307: RefusedError,
    308: RefusedError,
}


_BY_WORD: dict[type[APIError], tuple[str, ...]] = {
    PermissionDeniedError: _NO_PRODUCT,
    RateLimitError: _RATE_LIMITED,
    AuthenticationError: _TOKEN_REJECTED,
}


def _classify(status: int, details: Problem, request: Request | None) -> type[APIError]:
    reason = gateway_reason(details)
    found = [(kind, word) for kind, words in _BY_WORD.items() for word in words if word in reason]
    if found:
        quoted = request_words(body=request.body, url=request.url) if request is not None else ""
        for kind, word in found:
            if word not in quoted:
                return kind
    if details.code == "low-balance":
        return PaymentRequiredError  # the status varies: 400, 402 or 403 (contract 6.2)
    known = _BY_STATUS.get(status)
    if known is BadRequestError and any(each.name == "balance" for each in details.invalid_parameters):
        return PaymentRequiredError  # the form that Dispatch uses (contract 3.8)
    if known is not None:
        return known
    if 400 <= status < 500:
        return RefusedError
    return OutcomeUnknownError if 500 <= status < 600 else ProtocolError


def decipher_dispatch(response: Response) -> Dispatch:
    """Decode `202 {"dispatch_uuid": …}` (contract 3.7); any 2xx counts, unknown members are ignored."""
    try:
        uuid = _decode_accepted(response.body).dispatch_uuid
        if uuid and uuid.strip() == uuid:
            return Dispatch(uuid)
    except UNREADABLE:
        pass
    uuid = text_or_empty((parse_object(response.body) or {}).get("dispatch_uuid"))
    if not uuid:
        raise ProtocolError(
            f"the service answered {response.status} without a dispatch_uuid: the workflow may be under way",
            body=response.body[:1000],
            status=response.status,
        )
    return Dispatch(uuid)


def observed(
    decode: Callable[[Response], T], on_response: Callable[[Response], object] | None
) -> Callable[[Response], T]:
    """Return a `decode` that first calls `on_response` with the response, if there is one to call."""
    if on_response is None:
        return decode

    def decode_after_call(response: Response) -> T:
        on_response(response)
        return decode(response)

    return decode_after_call


def decipher_token(
    response: Response, *, request: Request | None = None, now: float = 0.0
) -> tuple[str, object]:
    """Return the access token and the raw value of `expires_in` (contract 2.1, 2.2).

    Args:
        response: The response of the token endpoint.
        request: The token request, for the error.
        now: Epoch seconds, to turn a date in a header into seconds; 0 if unknown.

    Raises:
        AuthenticationError: The client id or the secret is wrong, whatever the status.
        RateLimitError: There were too many token requests.
        TokenUnavailableError: The token endpoint failed, or its response was not understood.
    """
    status = response.status
    summary = request.summary if request is not None else ""
    if 200 <= status < 300:
        fields = parse_object(response.body) or {}
        token = text_or_empty(fields.get("access_token"))
        # The token becomes part of a header line.
        if token and token.isascii() and token.isprintable() and " " not in token:
            return token, fields.get("expires_in")
        raise TokenUnavailableError(
            f"{summary}: {status} without a usable access_token",
            request=summary,
            status=status,
            phase="token",
        )
    details = parse_problem(response.body)
    # The whole body counts: the request has no text to quote, and a repeated token request is harmless.
    text = _haystack(response.body)
    kind: type[APIError] = TokenUnavailableError
    if any(word in text for word in _BAD_CLIENT):
        kind = AuthenticationError
    elif status == 429 or any(word in text for word in _RATE_LIMITED):
        kind = RateLimitError
    elif status == 407:
        kind = ProxyError
    elif 400 <= status < 500 and _BY_STATUS.get(status) is not NotAcceptedError:
        kind = AuthenticationError
    explanation = details.summary(body=request.body if request is not None else None)
    raise kind(
        f"{summary}: no access token: {status} {explanation}".rstrip(),
        request=summary,
        status=status,
        details=details,
        retry_after=retry_after(response.headers, now=now, quota=kind is RateLimitError),
        phase="token",
    )


def decipher_nothing(_response: Response) -> None:
    """Accept any success: the body of a deletion has no meaning (contract 4.1)."""


def decipher_application(response: Response) -> Application:
    """Decode one application in any shape, including a list of one (contract 4.3)."""
    fields = parse_object(response.body)
    if fields is not None:
        embedded = embedded_of(fields)
        if embedded is not None and len(embedded) == 1:
            fields = embedded[0]
        application = application_of(fields)
        if application.id:
            return application
    raise ProtocolError(
        f"the service answered {response.status} without an application",
        body=response.body[:1000],
        status=response.status,
    )


def decipher_page(response: Response) -> ApplicationPage:
    """Decode a page of applications, whatever the name of its index (contract 4.3)."""
    fields = parse_object(response.body)
    embedded = embedded_of(fields) if fields is not None else None
    if fields is None or embedded is None:
        if fields is not None and any(name in fields for name in ("count", "total_items", "page_size")):
            embedded = []
        else:
            raise ProtocolError(
                f"the service answered {response.status} without a list of applications",
                body=response.body[:1000],
                status=response.status,
            )
    numbers = {name: to_int(fields.get(name)) for name in _PAGE_NUMBERS}

    def first(*names: str) -> int | None:
        return next((numbers[name] for name in names if numbers[name] is not None), None)

    return ApplicationPage(
        applications=tuple(application_of(item) for item in embedded),
        index=first("page_index", "page", "record_index"),
        size=first("page_size"),
        total=first("total_items", "count"),
        raw=fields,
    )


_PAGE_NUMBERS = ("page_index", "page", "record_index", "page_size", "total_items", "count")


def _haystack(body: bytes) -> str:
    """Return the text of the body in lower case with JSON escapes resolved, to search for words."""
    text = body[:65536].decode("utf-8", "replace").lower()
    if "\\u" in text and (fields := parse_object(body)) is not None:
        # Re-encoding is the shortest way to resolve the escapes of all texts at any depth.
        with contextlib.suppress(*UNREADABLE):
            text += msgspec.json.encode(fields).decode().lower()
    return text
