"""`from_http` and the ways to verify, without a socket."""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from nexmo_dispatch_webhooks import (
    Answer,
    ConfigurationError,
    CrossSiteRequestError,
    HmacVerification,
    InvalidBodyError,
    JwtVerification,
    MessageStatus,
    MissingSignatureError,
    PathSecretVerification,
    RawRequest,
    SignatureVerificationError,
    UnsupportedMediaTypeError,
    from_http,
    sign,
    verify,
)
from tests.webhooks.payloads import NOW, PATH_SECRET, SECRETS, VECTORS

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
    """There is no default: `verification` must be given, None accepts any origin (contract 5.9)."""
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


def test_a_verification_names_the_accounts_that_it_accepts() -> None:
    """Only a token names an account (contract 5.9): a router of one account hears nothing else."""
    named: list[JwtVerification | HmacVerification | PathSecretVerification] = [
        JwtVerification({"a": "s", "b": ["s", "t"]}),
        HmacVerification("key"),
        PathSecretVerification(PATH_SECRET),
    ]

    assert [each.api_keys for each in named] == [{"a", "b"}, frozenset(), frozenset()]


def test_an_answer_is_a_bare_200_unless_it_says_otherwise() -> None:
    """Contract 5.10: the service wants no more."""
    assert Answer() == Answer(200, "")


def test_secrets_are_in_no_repr() -> None:
    assert repr(verification()) == "JwtVerification(1 api keys)"


def test_body_is_in_no_repr() -> None:
    request = RawRequest({"authorization": "x"}, b"447700900000")

    assert repr(request) == "RawRequest(method='POST', 12 bytes)"
    assert request.__rich_repr__() == [("method", "POST"), ("size", 12)]
    assert request == RawRequest({"authorization": "x"}, b"447700900000", "", "POST")


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


@pytest.mark.parametrize("signature", ["\ud800", "é" * 64, "\udcff" + "0" * 63])
def test_hmac_header_that_is_no_text_is_refused(signature: str) -> None:
    """Headers are decoded with surrogates for bytes that are no text: refused, and no crash."""
    with pytest.raises(SignatureVerificationError):
        HmacVerification("key").verify(RawRequest({"x-kpn-webhook-signature": signature}, BODY))


def test_hmac_keys_are_text_or_bytes_and_each_counts() -> None:
    """During a rotation one of them may be bytes that are no text at all."""
    keys: list[str | bytes] = [b"\xff\x00", "sleutel-é"]
    scheme = HmacVerification(keys)

    for key in keys:
        raw = key.encode() if isinstance(key, str) else key
        signature = hmac.new(raw, BODY, hashlib.sha256).hexdigest()
        scheme.verify(RawRequest({"x-kpn-webhook-signature": f" {signature} "}, BODY))


@pytest.mark.parametrize("key", ["", [], ["a", ""]])
def test_hmac_needs_a_key(key: Any) -> None:
    with pytest.raises(ConfigurationError):
        HmacVerification(key)


@pytest.mark.parametrize("secret", [PATH_SECRET, "X" * 22])
@pytest.mark.parametrize("end", ["", "/", "//"])
def test_slashes_after_a_path_secret_do_not_matter(secret: str, end: str) -> None:
    """Handlers and records see what stands before it, and never a part of it."""
    scheme = PathSecretVerification(secret)

    scheme.verify(RawRequest({}, BODY, f"status/{secret}{end}"))
    assert scheme.public_path(f"status/{secret}{end}") == "status"


def test_path_secret() -> None:
    """The last segment of the path."""
    scheme = PathSecretVerification(PATH_SECRET)

    assert from_http({}, BODY, verification=scheme, path=f"status/{PATH_SECRET}/")[0].kind == "message-status"
    for path in (
        *("", "status", f"{PATH_SECRET}/status", PATH_SECRET.upper(), "\ud800", PATH_SECRET + "\udcff"),
        PATH_SECRET[:-1],
    ):
        with pytest.raises(SignatureVerificationError):
            from_http({}, BODY, verification=scheme, path=path)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "s3cret",
        "a" * 21,
        b"0123456789abcdefghijkl",
        5,
        None,
        "with/slash/in/the/secret",
        "needs%2Fencoding-in-url",
    ],
)
def test_a_path_secret_that_can_be_guessed_or_misspelt_is_refused(secret: Any) -> None:
    """With the rule and how to make a good one, and without the secret itself."""
    with pytest.raises(ConfigurationError, match="path secret") as caught:
        PathSecretVerification(secret)

    assert not secret or str(secret) not in str(caught.value)


def test_the_error_of_a_path_secret_says_how_to_make_one() -> None:
    """What the error names is accepted, and so is the shortest that it allows."""
    with pytest.raises(ConfigurationError, match=r"22 characters or more.*secrets\.token_urlsafe"):
        PathSecretVerification("too-short")

    PathSecretVerification("a" * 22)
    PathSecretVerification(secrets.token_urlsafe())


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:8702"},
        {"Sec-Fetch-Site": "cross-site"},
        {"sec-fetch-site": "same-origin"},
        {"Origin": "", "Content-Type": "application/json"},
    ],
)
def test_without_verification_no_web_page_gets_in(headers: dict[str, str]) -> None:
    """A browser marks what a page posts, also a page whose name is rebound to this address."""
    with pytest.raises(CrossSiteRequestError):
        from_http(headers, BODY, verification=None)

    assert from_http({**SIGNED, **headers}, BODY, verification=verification())[0].kind == "message-status"


@pytest.mark.parametrize("value", [None, "", "  ", "Bearer", "Bearer  ", "Basic dXNlcjpwYXNz", "x"])
def test_what_is_not_signed_is_told_from_what_is_signed_wrongly(value: str | None) -> None:
    """Without a token: 503, so that it comes again; with a wrong one: 401 (contract 5.9)."""
    with pytest.raises(MissingSignatureError) as missing:
        from_http({} if value is None else {"Authorization": value}, BODY, verification=verification())
    with pytest.raises(SignatureVerificationError) as wrong:
        from_http({"Authorization": "Bearer a.b.c"}, BODY, verification=verification())

    assert (missing.value.status, missing.value.claimed_api_key) == (503, None)
    assert (wrong.value.status, isinstance(wrong.value, MissingSignatureError)) == (401, False)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"api_key": "another"}, "no secret"),
        ({"iss": "x"}, "issuer"),
        ({"iat": NOW + 9999}, "future"),
        ({"iat": 0}, "old"),
        ({"exp": 1}, "expired"),
        ({"nbf": NOW + 9999}, "not valid yet"),
        ({"aud": "x"}, "meant for"),
        ({"payload_hash": "0"}, "not the one"),
        ({"payload_hash": None}, "does not cover"),
    ],
)
def test_a_wrong_token_says_which_account_it_claims(changes: dict[str, Any], reason: str) -> None:
    """Whatever is wrong with it once its claims can be read: a log line can name the account."""
    claims = {"jti": "j", "iss": "Vonage", "iat": NOW, "api_key": "k", **changes}
    token = "Bearer " + jwt.encode({"payload_hash": hashlib.sha256(BODY).hexdigest()} | claims, "s" * 32)

    with pytest.raises(SignatureVerificationError, match=reason) as caught:
        JwtVerification({"k": "s" * 32}, clock=lambda: NOW).verify(RawRequest({"authorization": token}, BODY))

    assert caught.value.claimed_api_key == claims["api_key"]


def test_a_missing_hmac_header_is_not_a_wrong_one() -> None:
    """As with tokens: what is not signed at all comes again."""
    with pytest.raises(MissingSignatureError):
        from_http({}, BODY, verification=HmacVerification("key"))


@pytest.mark.parametrize(
    "body", ['{"message_uuid": "m"}', {"message_uuid": "m"}, None], ids=["text", "object", "-"]
)
def test_text_in_the_place_of_bytes_is_named(body: Any) -> None:
    """What a framework has decoded is not what was signed: this is said, and it is no forged request."""
    bearer = {"Authorization": sign(b"{}", secret="secret", api_key="k", jti="j")}
    keyed = HmacVerification("secret", header="X-Signature")
    calls: list[Callable[[], object]] = [
        lambda: sign(body, secret="secret", api_key="k", jti="j"),
        lambda: verify(body, bearer["Authorization"], secrets={"k": "secret"}),
        lambda: from_http(bearer, body, verification=JwtVerification({"k": "secret"})),
        lambda: from_http({"X-Signature": "00"}, body, verification=keyed),
        lambda: from_http({}, body, verification=None),
        lambda: keyed.verify(RawRequest({"x-signature": "00"}, body)),
    ]

    for call in calls:
        with pytest.raises(ConfigurationError, match="body must be the raw bytes as they came, not "):
            call()


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_come_in_any_type(kind: Callable[[bytes], Any]) -> None:
    """A buffer of a server is as good as bytes."""
    body = b'{"message_uuid": "m", "status": "read"}'
    authorization = sign(kind(body), secret="secret", api_key="k", jti="j")

    assert verify(kind(body), authorization, secrets={"k": "secret"}).jti == "j"


LONG = "a-long-secret-of-one-segment"


@pytest.mark.parametrize(
    "secret", [f"{LONG}/b", f"/{LONG}", f"{LONG}/", LONG.encode(), [LONG.encode()], [LONG, LONG]]
)
def test_a_path_secret_is_one_segment_as_text(secret: Any) -> None:
    """What could never match is refused when it is set, not at the first callback."""
    assert PathSecretVerification(LONG).public_path(f"status/{LONG}") == "status"

    with pytest.raises(ConfigurationError, match="the path secret must be one text"):
        PathSecretVerification(secret)


def test_without_a_path_a_verification_sees_an_empty_one() -> None:
    """`from_http` alone knows no mount point: a secret path is never matched by chance."""
    seen: list[str] = []

    class Looking:
        def verify(self, request: RawRequest) -> None:
            seen.append(request.path)

    from_http({}, BODY, verification=Looking())
    from_http({}, BODY, verification=Looking(), path="status/x")

    assert seen == ["", "status/x"]
