"""Answers of the service as the pure core reads them, from the examples or made up."""

import json
from collections.abc import Mapping

import pytest

from nexmo_dispatch_async.exceptions import APIError
from nexmo_dispatch_async.sansio import Headers, Request, Response, decipher_dispatch, decipher_response

REQUEST = Request("POST", "https://h/dispatch", {}, b"{}", "/dispatch")


# What each error body means (contract 2.3, 3.8, 6.2): class, code, and the time to wait.
def answer(status: int, body: object = b"", headers: Mapping[str, str] | None = None) -> Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, Headers(headers or {}), content)


def error_of(response: Response, now: float = 0.0) -> APIError:
    with pytest.raises(APIError) as caught:
        decipher_response(response, decipher_dispatch, request=REQUEST, now=now)
    return caught.value
