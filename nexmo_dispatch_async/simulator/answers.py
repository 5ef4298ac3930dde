"""The error bodies of the service and of the gateway in front of it, each in its own style (contract 2, 3.8).

It decides nothing: the gateway says which one applies.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final, Literal, NamedTuple

import msgspec

from nexmo_dispatch_async.simulator.validation import Violation

__all__ = ["Reply", "apigee_fault", "credential_error", "kpn_error", "problem", "violations"]

_encode = msgspec.json.Encoder().encode
_JSON: Final = {"Content-Type": "application/json"}
_INFO: Final = "https://developer.kpn.com/support"


class Reply(NamedTuple):
    """An HTTP answer."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = _JSON


def problem(status: int, fragment: str, title: str, detail: str, instance: str, **members: object) -> Reply:
    """Return a Vonage problem."""
    host = "https://www.nexmo.com/messages/Errors" if fragment == "InvalidParams" else _ERRORS
    body = {"type": f"{host}#{fragment}", "title": title, "detail": detail, "instance": instance, **members}
    return Reply(status, _encode(body))


_ERRORS: Final = "https://developer.nexmo.com/api-errors"


def violations(
    found: list[Violation],
    instance: str,
    *,
    form: Literal["array", "object"],
    fragment: str = "InvalidParams",
) -> Reply:
    """Return the 400 that names what is wrong, all of it or the first as an object (contract 9.7)."""
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


def kpn_error(status: int, message: str, transaction: str) -> Reply:
    """Return KPN's nested envelope."""
    name = HTTPStatus(status).phrase
    body = {
        "error": {
            "transactionId": transaction,
            "status": f"{status} - {name}",
            "name": name,
            "message": message,
            "info": _INFO,
        }
    }
    return Reply(status, _encode(body))


def apigee_fault(status: int, text: str, code: str, headers: Mapping[str, str] | None = None) -> Reply:
    """Return a fault of the Apigee gateway."""
    body = {"fault": {"faultstring": text, "detail": {"errorcode": code}}}
    return Reply(status, _encode(body), {**_JSON, **(headers or {})})


def credential_error(form: Literal[401, 500], transaction: str) -> Reply:
    """Return the refusal of a client at the token endpoint, in either of the forms that were seen (2.2)."""
    if form == 500:
        return kpn_error(500, "invalid_client-invalid_client_id", transaction)
    return Reply(401, _encode({"ErrorCode": "invalid_client", "Error": "ClientId is Invalid"}))
