"""`from_http` and the ways to verify, without a socket."""

import hashlib
import hmac
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from nexmo_dispatch_webhooks import (
    ConfigurationError,
    HmacVerification,
    InvalidBodyError,
    JwtVerification,
    MessageStatus,
    PathSecretVerification,
    RawRequest,
    SignatureVerificationError,
    UnsupportedMediaTypeError,
    from_http,
)
from tests.webhooks.payloads import NOW, SECRETS, VECTORS

BODY: bytes = VECTORS["raw_body"].encode()
SIGNED = {"Authorization": VECTORS["cases"][0]["authorization"], "Content-Type": "application/json"}


def verification() -> JwtVerification:
    return JwtVerification(SECRETS, clock=lambda: NOW)


def test_headers_and_bytes_in_event_and_claims_out() -> None:
    event, claims = from_http(SIGNED, BODY, verification=verification())

    assert isinstance(event, MessageStatus)
    assert claims is not None
    assert claims.application_id == VECTORS["claims"]["application_id"]


def test_of_several_headers_the_first_counts() -> None:
    """As in both adapters, so that one request has one answer everywhere (contract 5.9)."""
    genuine = [("Authorization", SIGNED["Authorization"]), ("authorization", "Bearer a.b.c")]

    assert from_http(CIMultiDict(genuine), BODY, verification=verification())[1] is not None
    assert from_http(dict(genuine), BODY, verification=verification())[1] is not None
    with pytest.raises(SignatureVerificationError):
        from_http(CIMultiDict(reversed(genuine)), BODY, verification=verification())


def test_without_verification_said_out_loud() -> None:
    """There is no default: `verification` must be given, None accepts anybody (contract 5.9)."""
    event, claims = from_http({}, BODY, verification=None)

    assert event.kind == "message-status"
    assert claims is None
    with pytest.raises(TypeError):
        from_http({}, BODY)  # type: ignore[call-arg]  # the point of the test


def test_verification_comes_before_parsing() -> None:
    """A stranger learns nothing about what would parse."""
    with pytest.raises(SignatureVerificationError):
        from_http({}, b"not json", verification=verification())

    with pytest.raises(InvalidBodyError):
        from_http({}, b"not json", verification=None)


@pytest.mark.parametrize(
    "media_type",
    ["", "application/json", "Application/JSON; charset=utf-8", "text/json", "application/problem+json"],
)
def test_json_media_types(media_type: str) -> None:
    """Callbacks are JSON (contract 5.1); a missing content type is no reason to lose one."""
    headers = {"content-type": media_type} if media_type else {}

    assert from_http(headers, BODY, verification=None)[0].kind == "message-status"


@pytest.mark.parametrize(
    "media_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "image/png",
        "\x00",
    ],
)
def test_the_media_type_decides_only_about_strangers(media_type: str) -> None:
    """A genuine callback is read whatever it says it is: a 4xx would lose it (contract 5.10)."""
    with pytest.raises(UnsupportedMediaTypeError):
        from_http({"Content-Type": media_type}, BODY, verification=None)

    headers = {**SIGNED, "Content-Type": media_type}
    assert from_http(headers, BODY, verification=verification())[0].kind == "message-status"
    with pytest.raises(SignatureVerificationError):
        from_http({"Content-Type": media_type}, BODY, verification=verification())


@pytest.mark.parametrize("secrets", [{}, {"k": ""}, {"k": []}, {"k": ["a", ""]}])
def test_empty_secrets_are_a_loud_error(secrets: Any) -> None:
    """At configuration, not at the first callback."""
    with pytest.raises(ConfigurationError):
        JwtVerification(secrets)


@pytest.mark.parametrize(
    ("setting", "now", "changes"),
    [
        ({"max_age": 60}, NOW + 3600, {}),
        ({"leeway": 5}, NOW - 60, {}),
        ({"require_payload_hash": True}, NOW, {"without hash": True}),
    ],
)
def test_settings_of_the_verification_reach_the_check(
    setting: dict[str, Any], now: float, changes: dict[str, Any]
) -> None:
    """What `verify` would refuse with a setting is refused, and accepted with a wider one (contract 5.9)."""
    case = next(case for case in VECTORS["cases"] if case["name"] == "no payload_hash claim")
    authorization, body = (
        (case["authorization"], case["raw_body"].encode()) if changes else (SIGNED["Authorization"], BODY)
    )
    wide: dict[str, Any] = {"max_age": None, "leeway": 120.0, "require_payload_hash": False}
    request = RawRequest({"authorization": authorization}, body)

    assert JwtVerification(SECRETS, **wide, clock=lambda: now).verify(request).iat
    with pytest.raises(SignatureVerificationError):
        JwtVerification(SECRETS, **{**wide, **setting}, clock=lambda: now).verify(request)


def test_strict_reaches_the_parser() -> None:
    """Contract tests read requests as the receiver does."""
    odd = b'{"what": "ever"}'

    assert from_http({}, odd, verification=None)[0].kind == "unknown"
    with pytest.raises(InvalidBodyError, match="not as documented"):
        from_http({}, odd, verification=None, strict=True)


def test_secrets_are_in_no_repr() -> None:
    assert repr(verification()) == "JwtVerification(1 api keys)"


def test_body_is_in_no_repr() -> None:
    request = RawRequest({"authorization": "x"}, b"447700900000")

    assert repr(request) == "RawRequest(method='POST', 12 bytes)"
    assert request.__rich_repr__() == [("method", "POST"), ("size", 12)]


@pytest.mark.parametrize("key", ["new", b"old"])
def test_hmac_header(key: str | bytes) -> None:
    """Hex HMAC-SHA256 of the raw body, as KPN signs its own webhooks; several keys for a rotation."""
    signature = hmac.new(key.encode() if isinstance(key, str) else key, BODY, hashlib.sha256).hexdigest()
    scheme = HmacVerification(["new", "old"])

    event, claims = from_http({"X-KPN-Webhook-Signature": signature.upper()}, BODY, verification=scheme)

    assert (event.kind, claims) == ("message-status", None)
    with pytest.raises(SignatureVerificationError):
        from_http({"X-KPN-Webhook-Signature": signature}, BODY + b" ", verification=scheme)


@given(st.text(max_size=70))
def test_hmac_header_may_hold_anything(signature: str) -> None:
    with pytest.raises(SignatureVerificationError):
        HmacVerification("key").verify(RawRequest({"x-kpn-webhook-signature": signature}, BODY))


@pytest.mark.parametrize("key", ["", [], ["a", ""]])
def test_hmac_needs_a_key(key: Any) -> None:
    with pytest.raises(ConfigurationError):
        HmacVerification(key)


def test_path_secret() -> None:
    """The last segment of the path."""
    scheme = PathSecretVerification("s3cret")

    assert from_http({}, BODY, verification=scheme, path="status/s3cret/")[0].kind == "message-status"
    for path in ("", "status", "s3cret/status", "S3CRET", "\ud800", "s3cret\udcff"):
        with pytest.raises(SignatureVerificationError):
            from_http({}, BODY, verification=scheme, path=path)
    with pytest.raises(ConfigurationError):
        PathSecretVerification("")
