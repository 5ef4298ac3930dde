"""The class of an error response: each error carries the class of its code or of its status."""

from typing import Any

import pytest

from nexmo_dispatch_async import KpnOAuth, RetryPolicy, sms
from nexmo_dispatch_async.exceptions import APIError
from nexmo_dispatch_async.sansio import Response, decipher_dispatch, decipher_response
from nexmo_dispatch_async.simulator import Simulator
from tests.support.pages import blocks
from tests.support.paths import ROOT

PAGE = ROOT / "docs" / "errors.md"


@pytest.mark.parametrize(
    ("secret", "fault", "next_step"),
    [
        ("another", {}, "tell the operator: "),
        ("", {"kind": "error", "status": 402, "form": "problem"}, "tell the operator: "),
        ("", {"kind": "error", "status": 403, "form": "problem"}, "tell the operator: "),
        ("", {"kind": "error", "status": 429, "form": "apigee", "retry_after": 90}, "send it again in 90 s"),
        ("", {"kind": "error", "status": 408, "form": "text"}, "send it again in 60 s"),
        ("", {"kind": "error", "status": 409, "form": "problem"}, "never send it as it is: "),
        ("", {"kind": "reset", "when": "after"}, "do not send it again: "),
    ],
)
async def test_the_sample_of_the_page_repeats_nothing_that_a_person_must_mend(
    secret: str, fault: dict[str, object], next_step: str
) -> None:
    """`except NotSentError: try again later` would go on for ever with wrong credentials."""
    code = next(block.code for block in blocks(PAGE) if block.language == "python")
    namespace: dict[str, Any] = {}  # what the page defines
    exec(code.partition("\n\n\nasync with")[0], namespace)  # noqa: S102 - our own page
    async with Simulator() as sim:
        auth = KpnOAuth(sim.client_id, secret or sim.client_secret, token_url=sim.token_url)
        async with sim.client(auth=auth, retry=RetryPolicy(attempts=1)) as client:
            if fault:
                sim.faults.add({"route": "POST /dispatch", **fault})
            said = await namespace["send"](client, sms.text("Hi", from_="31647356950", to="999000000001"))

    assert said.startswith(next_step)


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
