"""The probe of `nexmo-dispatch doctor`: refused like every unsigned request, and recognised by its proof."""

import pytest

from nexmo_dispatch_webhooks import HmacVerification, RawRequest, Receiver, Router, sign
from nexmo_dispatch_webhooks.doctor_probe import HEADER, probe_headers
from nexmo_dispatch_webhooks.sansio import Verification

BODY = b'{"message_uuid": "m", "status": "submitted"}'
NOW = 1_800_000_000
SECRET = "example-signature-secret-for-tests-0123456789"


def receiver(verification: Verification | None = None) -> Receiver:
    if verification is not None:
        return Receiver(Router(), verification=verification)
    return Receiver(Router(), secrets={"k": SECRET}, clock=lambda: NOW)


def proof(*, secret: str = SECRET, api_key: str = "k", iat: int = NOW, body: bytes = BODY) -> dict[str, str]:
    return probe_headers(body, secret=secret, api_key=api_key, iat=iat)


async def test_a_probe_is_refused_like_every_unsigned_request_and_leaves_no_trace(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The same answer, without a warning and without a count that would wake a person."""
    subject = receiver()

    stranger = await subject.handle(RawRequest({}, BODY))
    caplog.clear()
    probe = await subject.handle(RawRequest(proof(), BODY))

    assert probe == stranger
    assert probe.status == 503
    assert caplog.messages == []
    assert subject.health()["missing_signatures"] == 1


@pytest.mark.parametrize(
    "headers",
    [
        proof(secret="another-secret-0123456789-0123456789-0123"),
        proof(api_key="stranger"),
        proof(iat=NOW - 100_000),
        proof(body=b"{}"),
        {HEADER: "Bearer nonsense"},
        {HEADER: ""},
        {HEADER: sign(BODY, secret=SECRET, api_key="k", iat=NOW, jti="j")},
    ],
    ids=["secret", "account", "time", "body", "no token", "empty", "signature of a callback"],
)
async def test_what_proves_nothing_is_counted_and_logged(
    headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """No stranger hides an unsigned request."""
    subject = receiver()

    answer = await subject.handle(RawRequest(headers, BODY))

    assert answer.status == 503
    assert subject.health()["missing_signatures"] == 1
    assert len(caplog.messages) == 1


async def test_a_proof_signs_no_callback() -> None:
    """A probe that is read on its way is no way to post its body as a callback."""
    subject = receiver()

    answer = await subject.handle(RawRequest({"authorization": proof()[HEADER]}, BODY))

    assert answer.status == 401


async def test_other_verifications_know_no_probe() -> None:
    """The proof is a token, and theirs are none."""
    subject = receiver(HmacVerification(SECRET))

    assert (await subject.handle(RawRequest(proof(), BODY))).status == 503
    assert subject.health()["missing_signatures"] == 1
