"""The class of an error response: each error carries the class of its code or of its status."""

import pytest

from nexmo_dispatch_async.exceptions import APIError
from nexmo_dispatch_async.sansio import Response, decipher_dispatch, decipher_response


@pytest.mark.parametrize(
    ("status", "code", "error_class"),
    [
        (400, "invalid-params", "request"),
        (422, "1150", "request"),
        (422, "1240", "permanent"),
        (400, "1000", "temporary"),
        (401, "unauthorized", "configuration"),
        (402, "low-balance", "configuration"),
        (403, "low-balance", "configuration"),
        (403, "unprovisioned", "configuration"),
        (404, "not-found", "request"),
        (409, "conflict", "request"),
        (415, "content-type-header", "request"),
        (429, "throttled", "temporary"),
        (451, "unavailable-legal", "permanent"),
        (500, "", "temporary"),
        (503, "", "temporary"),
        (200, "", "unknown"),
    ],
)
def test_every_answer_has_a_class(status: int, code: str, error_class: str) -> None:
    """Contract 6.1 and 6.2: the code if it says something, else the status."""
    body = b'{"type":"https://h/errors#%s","title":"T","instance":"bf0ca0bf"}' % code.encode()

    with pytest.raises(APIError) as caught:
        decipher_response(Response(status, {}, body), decipher_dispatch)

    assert caught.value.error_class == error_class
    assert caught.value.phase == "response"
    if status >= 400:
        assert (caught.value.code, caught.value.instance) == (code, "bf0ca0bf")
