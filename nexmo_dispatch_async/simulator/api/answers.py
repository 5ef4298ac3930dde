"""Error responses of the service and of the gateway in front of it, each in its own format (contract 2, 3.8).

The gateway and the service choose among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from http import HTTPStatus
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

import msgspec

from nexmo_dispatch_async.simulator.world.violations import Violation

__all__ = [
    "Reply",
    "credential_error",
    "error_in_form",
    "gateway_fault",
    "kpn_error",
    "problem",
    "violations",
]

_encode = msgspec.json.Encoder().encode
_JSON: Final[Mapping[str, str]] = MappingProxyType({"Content-Type": "application/json"})
_INFO: Final = "https://developer.kpn.com/support"
_ERRORS: Final = "https://developer.nexmo.com/api-errors"


class Reply(NamedTuple):
    """An HTTP response, and what a fault does to it."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = _JSON
    #: delay of the response in real seconds
    latency: float = 0.0
    #: how a fault cuts the connection: instead of the response, or halfway through its body
    cut: Literal["reset", "half"] | None = None


def problem(status: int, fragment: str, title: str, detail: str, instance: str, **members: object) -> Reply:
    """Return an error in Vonage's problem format."""
    host = "https://www.nexmo.com/messages/Errors" if fragment == "InvalidParams" else _ERRORS
    body = {"type": f"{host}#{fragment}", "title": title, "detail": detail, "instance": instance, **members}
    return Reply(status, _encode(body))


def violations(
    found: list[Violation],
    instance: str,
    *,
    form: Literal["array", "object"],
    fragment: str = "InvalidParams",
) -> Reply:
    """Return a 400 with all violations, or with the first one as an object (contract 9.7)."""
    if not found:
        return problem(400, "invalid-json", "Invalid JSON", "The body is not a JSON object.", instance)
    entries = [{"name": name, "reason": reason} for name, reason in found]
    return problem(
        400,
        fragment,
        "Invalid Parameters",
        "One or more request parameters failed validation.",
        instance,
        invalid_parameters=entries[0] if form == "object" else entries,
    )


def _envelope(status: int, message: str, transaction: str) -> dict[str, str]:
    name = _phrase(status)
    return {
        "transactionId": transaction,
        "status": f"{status} - {name}",
        "name": name,
        "message": message,
        "info": _INFO,
    }


def kpn_error(status: int, message: str, transaction: str) -> Reply:
    """Return an error in KPN's nested envelope."""
    return Reply(status, _encode({"error": _envelope(status, message, transaction)}))


def gateway_fault(
    form: Literal["apigee", "kpn", "xml"],
    status: int,
    text: str,
    code: str,
    transaction: str,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """Return a fault of the gateway: in Apigee's format, in KPN's envelope, or as XML (contract 2.2, 2.3)."""
    kind = _JSON
    if form == "xml":
        body, kind = _xml(text, code), {"Content-Type": "application/xml"}
    elif form == "kpn":
        fault = code.removeprefix("keymanagement.service.")
        body = _encode({"error": _envelope(status, fault, transaction)})
    else:
        body = _encode({"fault": {"faultstring": text, "detail": {"errorcode": code}}})
    return Reply(status, body, {**kind, **(headers or {})})


def credential_error(form: Literal[401, 500], transaction: str) -> Reply:
    """Return the error for wrong credentials at the token endpoint, in an observed form (contract 2.2)."""
    if form == 500:
        return kpn_error(500, "invalid_client-invalid_client_id", transaction)
    return Reply(401, _encode({"ErrorCode": "invalid_client", "Error": "ClientId is Invalid"}))


def error_in_form(form: str, status: int, transaction: str, retry_after: int | None = None) -> Reply:
    """Return an error in one of the formats of contract 3.8; `form` is one of `faults.FORMS`."""
    name = _phrase(status)
    more = {} if retry_after is None else {"Retry-After": str(retry_after)}
    kind = "application/json"
    match form:
        case "kpn":
            body = _encode({"error": _envelope(status, name, transaction)})
        case "kpn_flat":
            body = _encode(_envelope(status, name, transaction))
        case "error_response":
            body = _encode({"errorResponse": {"code": str(status), "message": name, "info": _INFO}})
        case "apigee":
            text, code = _APIGEE.get(status, (name, "messaging.adaptors.http.flow.ServiceUnavailable"))
            body = _encode({"fault": {"faultstring": text, "detail": {"errorcode": code}}})
        case "unauthorized":
            body = _encode({"type": name.upper().replace(" ", "_"), "error_title": name})
        case "problem":
            fragment = {401: "unauthorized", 402: "low-balance", 403: "forbidden", 429: "throttled"}
            return problem(
                status, fragment.get(status, name.lower().replace(" ", "-")), name, name, transaction
            )._replace(headers={"Content-Type": "application/problem+json", **more})
        case "html":
            kind = "text/html"
            page = f"<html>\r\n<head><title>{status} {name}</title></head>\r\n<body>\r\n<center><h1>"
            body = f"{page}{status} {name}</h1></center>\r\n</body>\r\n</html>\r\n".encode()
        case "xml":
            kind, body = "application/xml", _xml(name, "messaging.adaptors.http.flow.ServiceUnavailable")
        case "text":
            kind, body = "text/plain", f"{status} {name}\n".encode()
        case _:
            kind, body = "text/plain", b""
    return Reply(status, body, {"Content-Type": kind, **more})


# Apigee's own messages for these statuses (contract 2.3, 3.8).
_APIGEE: Final = {
    401: ("Invalid Access Token", "keymanagement.service.invalid_access_token"),
    429: (
        "Spike arrest violation. Allowed rate : 30ps",
        "policies.ratelimit.SpikeArrestViolation",
    ),
    504: ("Gateway Timeout", "messaging.adaptors.http.flow.GatewayTimeout"),
}


def _xml(text: str, code: str) -> bytes:
    return (
        '<?xml version="1.0" encoding="UTF-8"?><fault><faultstring>'
        f"{escape(text)}</faultstring><detail><errorcode>{escape(code)}</errorcode></detail></fault>"
    ).encode()


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
