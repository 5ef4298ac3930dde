"""Answers of the service as the pure core reads them, from the examples or made up."""

import json
from collections.abc import Mapping

import pytest

from nexmo_dispatch_async.exceptions import APIError
from nexmo_dispatch_async.sansio import Headers, Request, Response, decipher_dispatch, decipher_response
from tests.conftest import payload
from tests.support.misbehaving import reply

# 2025-11-12 23:00 UTC, one hour before the quota of the example is reset.
NOW = 1_762_988_400.0
REQUEST = Request("POST", "https://h/dispatch", {}, b"{}", "/dispatch")


# What each error body means (contract 2.3, 3.8, 6.2): class, code, and the time to wait.
def answer(status: int, body: object = b"", headers: Mapping[str, str] | None = None) -> Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, Headers(headers or {}), content)


def error_of(response: Response, now: float = 0.0) -> APIError:
    with pytest.raises(APIError) as caught:
        decipher_response(response, decipher_dispatch, request=REQUEST, now=now)
    return caught.value


def exchange(name: str) -> Response:
    recorded = payload(name)
    body = b"" if recorded["body"] is None else json.dumps(recorded["body"]).encode()
    return Response(recorded["status"], Headers(recorded["headers"]), body)


def error_reply(name: str) -> bytes:
    """Return the answer of an example file."""
    recorded = payload(f"errors/{name}.json")
    return reply(recorded["status"], recorded["body"], recorded["headers"])
