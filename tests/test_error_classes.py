"""What kind of trouble a code is: the table of contract 6.1, and the errors that carry it."""

import re

import pytest

from nexmo_dispatch_async.error_classes import ERROR_CLASSES, class_of_code
from nexmo_dispatch_async.exceptions import APIError
from nexmo_dispatch_async.sansio import Response, decipher_dispatch, decipher_response
from nexmo_dispatch_webhooks.events.error_codes import ERROR_CLASSES as OF_THE_RECEIVER
from tests.support.paths import ROOT

CONTRACT = ROOT / "docs" / "contract.md"


def test_the_classes_are_those_of_the_receiver() -> None:
    """Whose test holds them against the table of the contract (6.1)."""
    assert ERROR_CLASSES == OF_THE_RECEIVER


@pytest.mark.parametrize("code", ["", "9999", "11500", "\u0661\u0660\u0660\u0660", "not-found", "1000x"])
def test_other_codes_have_no_class(code: str) -> None:
    assert class_of_code(code) is None


def test_every_name_that_has_a_class_is_in_the_contract() -> None:
    section = CONTRACT.read_text("utf-8").split("### 6.2")[1]
    names = set(re.findall(r"`([a-z-]+)`", section))

    assert {name for name in names if class_of_code(name)} == {
        "account-suspended",
        "application-suspended",
        "invalid-ip",
        "low-balance",
        "rate-limit",
        "throttled",
        "unavailable-legal",
        "unprovisioned",
    }


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
    assert caught.value.phase == "answer"
    if status >= 400:
        assert (caught.value.code, caught.value.instance) == (code, "bf0ca0bf")
