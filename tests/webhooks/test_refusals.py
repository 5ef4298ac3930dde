"""What is turned away: the status by the setting, the counts, and one line of log for each burst."""

import logging
from typing import Any

import pytest

from nexmo_dispatch_core.bursts import BURST
from nexmo_dispatch_webhooks import (
    BodyTooLargeError,
    ConfigurationError,
    CrossSiteRequestError,
    InvalidBodyError,
    MissingSignatureError,
    RawRequest,
    Receiver,
    RequestRefusedError,
    RequestTimeoutError,
    Router,
    SignatureVerificationError,
    TokenTimeError,
    UnsupportedMediaTypeError,
    sign,
)
from nexmo_dispatch_webhooks.asgi import ASGIReceiver
from nexmo_dispatch_webhooks.refusals import Refusals

BODY = b"{}"
SECRET = "example-signature-secret-for-tests-0123456789"


class Seconds:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def monotonic() -> Seconds:
    return Seconds()


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Any:
    """The lines of the receiver so far; each is a warning."""
    caplog.set_level(logging.DEBUG, "nexmo_dispatch_webhooks")

    def read() -> list[str]:
        assert {record.levelname for record in caplog.records} <= {"WARNING"}
        return [record.getMessage() for record in caplog.records]

    return read


def wrong(api_key: str | None) -> SignatureVerificationError:
    return SignatureVerificationError("the signature does not match", claimed_api_key=api_key)


@pytest.mark.parametrize("status", [401, 503])
def test_the_answer_to_a_wrong_signature_is_a_setting(status: Any) -> None:
    """What has no signature is 503 either way (contract 5.9), and other refusals keep their own status."""
    refusals = Refusals(wrong_signature=status)

    answers = [
        refusals.answer(error).status
        for error in (wrong("k"), MissingSignatureError("x"), BodyTooLargeError("x"))
    ]

    assert answers == [status, 503, 413]
    assert (refusals.missing_signatures, refusals.wrong_signatures) == (1, 1)


def test_a_token_of_another_time_comes_again_whatever_the_setting() -> None:
    """One of two clocks is wrong, and the line in the log says whose to set (contract 5.9, 5.10)."""
    refusals = Refusals(wrong_signature=401, api_keys=["k"])

    assert refusals.answer(TokenTimeError("the token is too old", claimed_api_key="k")).status == 503
    assert (refusals.wrong_token_times, refusals.wrong_signatures) == (1, 0)


@pytest.mark.parametrize("status", [400, 200, 401.0, "401", True, None, [401]])
def test_no_other_answer_can_be_set(status: Any) -> None:
    """Refused where the receiver is built, with what each of the two means."""
    for build in (
        lambda: Receiver(Router(), secrets={"k": SECRET}, wrong_signature=status),
        lambda: ASGIReceiver(Router(), secrets={"k": SECRET}, wrong_signature=status),
    ):
        with pytest.raises(ConfigurationError, match=r"wrong_signature must be 401, .* or 503"):
            build()


def test_a_burst_is_one_line_that_names_the_account_and_hints_at_rotation(
    monotonic: Seconds, lines: Any
) -> None:
    """However many callbacks a changed secret loses; the next burst says how many were not logged."""
    refusals = Refusals(api_keys=["a1b2c3d4"], monotonic=monotonic)

    for _ in range(1000):
        refusals.answer(wrong("a1b2c3d4"))
        monotonic.now += BURST / 1001
    assert len(lines()) == 1
    assert lines()[0] == (
        "refused with 401: SignatureVerificationError: the signature does not match; the token claims "
        "api_key 'a1b2c3d4', the service does not repeat it. If a secret was changed, give the new one "
        "beside the old one; wrong_signature=503 lets callbacks wait for that"
    )

    monotonic.now += BURST
    refusals.answer(wrong("a1b2c3d4"))

    assert len(lines()) == 2
    assert lines()[1].endswith("(999 more since the last such line)")
    assert refusals.wrong_signatures == 1001


def test_a_stranger_cannot_hide_the_line_of_an_account(monotonic: Seconds, lines: Any) -> None:
    """All strangers share one burst, and each account whose secret is known has its own."""
    refusals = Refusals(api_keys=["ours", "theirs"], monotonic=monotonic)

    for number in range(50):
        refusals.answer(wrong(f"stranger{number}"))
        refusals.answer(wrong("ours"))
        refusals.answer(wrong("theirs"))

    assert [line.split("'")[1] for line in lines()] == ["stranger0", "ours", "theirs"]
    assert "add its signature secret to `secrets`" in lines()[0]


@pytest.mark.parametrize(
    "claim", ["\x1b[2J", "a b", "x" * 41, "", "447700900123@example", "\u202eabc", "k\n"]
)
def test_what_looks_like_no_account_is_not_printed(claim: str, lines: Any) -> None:
    """A claim may hold anything: escapes for a terminal, or a forged line of log."""
    Refusals(api_keys=["ours"]).answer(wrong(claim))

    assert len(lines()) == 1
    assert "claims an api_key that is none" in lines()[0]
    assert claim.strip() == "" or claim not in lines()[0]


def test_each_kind_of_refusal_has_its_own_burst(monotonic: Seconds, lines: Any) -> None:
    """A flood of one kind hides no other kind, and fills no disk."""
    refusals = Refusals(monotonic=monotonic)
    errors: list[RequestRefusedError] = [MissingSignatureError("no token"), BodyTooLargeError("too large")]

    for _ in range(10):
        for error in errors:
            refusals.answer(error)

    assert [line.partition(";")[0] for line in lines()] == [
        "refused with 503: MissingSignatureError: no token",
        "refused with 413: BodyTooLargeError: too large",
    ]
    assert "If no callback comes signed, ask for signed webhooks" in lines()[0]


async def test_a_changed_secret_is_seen_in_health_log_and_statistics(monotonic: Seconds, lines: Any) -> None:
    """From the request on: the account is the one that the token claims (contract 5.9)."""
    subject = Receiver(Router(), secrets={"a1b2c3d4": SECRET}, wrong_signature=503, monotonic=monotonic)
    old = sign(BODY, secret="another secret", api_key="a1b2c3d4", jti="j")

    answers = [
        (await subject.handle(RawRequest(headers, BODY))).status
        for headers in ({"authorization": old}, {"authorization": old}, {})
    ]

    assert answers == [503, 503, 503]
    health, counts = subject.health(), subject.statistics()
    assert (health["wrong_signatures"], health["missing_signatures"]) == (2, 1)
    assert (counts.wrong_signatures, counts.missing_signatures, counts.answers) == (2, 1, {503: 3})
    assert [line.partition(":")[0] for line in lines()] == ["refused with 503"] * 2
    assert "claims api_key 'a1b2c3d4', the service repeats it" in lines()[0]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            BodyTooLargeError.of(70000, 65536),
            "70000 bytes and perhaps more, and max_body is 65536; the sender",
        ),
        (
            RequestTimeoutError("late"),
            "RequestTimeoutError: late; the sender is not known, and the service does",
        ),
        (UnsupportedMediaTypeError("zip"), "let no proxy change the body"),
        (InvalidBodyError("no JSON"), "a proxy has changed the body"),
        (CrossSiteRequestError("a page"), "Give the receiver `secrets`"),
        (RequestRefusedError("odd"), "the service does not repeat it"),
    ],
)
def test_a_refusal_names_class_fate_and_advice(error: RequestRefusedError, words: str, lines: Any) -> None:
    """The runbook is keyed by the class; a body that is too large says its size and the setting."""
    Refusals().answer(error)

    (line,) = lines()
    assert line.startswith(f"refused with {error.status}: {type(error).__name__}: ")
    assert words in line
