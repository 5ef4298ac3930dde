"""Promises of the credentials: when a token is due, what is sent for it, and that nothing is shown."""

import json
import uuid
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import example, given
from hypothesis import strategies as st

from nexmo_dispatch_async.auth import (
    KPN_TOKEN_URL,
    Auth,
    BasicAuth,
    BearerToken,
    KpnOAuth,
    VonageJWT,
    check_url,
)
from nexmo_dispatch_async.exceptions import (
    AuthenticationError,
    ConfigurationError,
    NotSentError,
    RateLimitError,
    TokenUnavailableError,
)
from nexmo_dispatch_async.sansio import Headers, Response
from tests.conftest import payload
from tests.support.keys import rsa_key
from tests.support.paths import PAYLOADS

TOKEN_FILES = sorted(path.name for path in (PAYLOADS / "auth").glob("token_success*.json"))

# What each refusal of the token endpoint means (contract 2.2).
REFUSALS = {
    "token_error_401_apigee_fault.json": AuthenticationError,
    "token_error_401_invalid_client.json": AuthenticationError,
    "token_error_500_invalid_client.json": AuthenticationError,
    "token_error_503.json": TokenUnavailableError,
}


def oauth(**settings: float) -> KpnOAuth:
    return KpnOAuth("EXAMPLE_CLIENT_ID_0001", "EXAMPLE_CLIENT_SECRET", **settings)  # type: ignore[arg-type] # floats only


def answer(body: object, status: int = 200, **headers: str) -> Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, Headers(headers), content)


def exchange(name: str) -> Response:
    recorded = payload(f"auth/{name}")
    return answer(recorded["body"], recorded["status"], **recorded["headers"])


def test_the_token_request_is_that_of_the_contract() -> None:
    """Contract 2.1: grant type in the query, credentials in the form body."""
    expected = payload("auth/token_request.json")

    request = oauth().token_request()

    assert request.method == expected["method"]
    assert request.url == expected["url"]
    assert {name.lower(): value for name, value in request.headers.items()} == expected["headers"]
    assert request.body == expected["raw_body"].encode()


@pytest.mark.parametrize(
    ("token_url", "expected"),
    [
        (f"{KPN_TOKEN_URL}?grant_type=client_credentials", f"{KPN_TOKEN_URL}?grant_type=client_credentials"),
        ("https://h/t/?a=b", "https://h/t/?a=b&grant_type=client_credentials"),
    ],
)
def test_the_grant_type_is_in_the_query_once(token_url: str, expected: str) -> None:
    assert KpnOAuth("a", "b", token_url).token_request().url == expected


def test_credentials_are_escaped_in_the_form() -> None:
    assert KpnOAuth("a&b", "c=d e").token_request().body == b"client_id=a%26b&client_secret=c%3Dd+e"


@pytest.mark.parametrize("name", TOKEN_FILES)
def test_every_form_of_token_is_read(name: str) -> None:
    """Contract 2.1: strings or numbers, `BearerToken` or `Bearer`; the header says `Bearer`."""
    auth = oauth()

    auth.receive_token(exchange(name), now=0)

    assert auth.authorization(0) == f"Bearer {payload(f'auth/{name}')['body']['access_token']}"


@pytest.mark.parametrize("name", sorted(path.name for path in (PAYLOADS / "auth").glob("token_error*.json")))
def test_every_refusal_has_its_class(name: str) -> None:
    auth = oauth()

    with pytest.raises(REFUSALS[name]) as caught:
        auth.receive_token(exchange(name), now=0)

    assert type(caught.value) is REFUSALS[name]
    assert caught.value.request == "POST /oauth/client_credential/accesstoken"
    assert auth.authorization(0) is None


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (429, b"", RateLimitError),
        (500, {"fault": {"detail": {"errorcode": "policies.ratelimit.QuotaViolation"}}}, RateLimitError),
        (500, b"<fault>oauth.v2.InvalidClientIdentifier</fault>", AuthenticationError),
        (400, b"<html>", AuthenticationError),
        (302, b"", TokenUnavailableError),
        (502, b"<html>", TokenUnavailableError),
        (408, b"", TokenUnavailableError),
        (421, b"", TokenUnavailableError),
        (425, b"", TokenUnavailableError),
        (200, b"", TokenUnavailableError),
        (200, {"access_token": ""}, TokenUnavailableError),
        (200, {"access_token": "with\r\nX-Injected: header"}, TokenUnavailableError),
        (200, {"access_token": ["a"]}, TokenUnavailableError),
        (200, b"[" * 100_000, TokenUnavailableError),
    ],
)
def test_refusals_are_told_by_body_before_status(
    status: int, body: object, expected: type[NotSentError]
) -> None:
    with pytest.raises(expected) as caught:
        oauth().receive_token(answer(body, status), now=0)

    assert type(caught.value) is expected


def test_a_refusal_names_the_moment_to_come_back() -> None:
    with pytest.raises(RateLimitError) as caught:
        oauth().receive_token(answer(b"", 429, **{"Retry-After": "7"}), now=0)

    assert caught.value.retry_after == 7


@pytest.mark.parametrize(
    ("expires_in", "last", "due"),
    [
        ("3599", 3478.9, 3479.0),
        (3599, 3478.9, 3479.0),
        (3599.5, 3479.4, 3479.5),
        (" 200 ", 99.9, 100.0),
        ("soon", 179.9, 180.0),
        (None, 179.9, 180.0),
        ("nan", 179.9, 180.0),
        ("inf", 179.9, 180.0),
        (-1, 179.9, 180.0),
        (True, 179.9, 180.0),
    ],
)
def test_a_token_is_due_before_its_end(expires_in: object, last: float, due: float) -> None:
    """Contract 2.1: renewed early, from the local time of receipt; unreadable means 300 s."""
    auth = oauth(renew_before=120)

    auth.receive_token(answer({"access_token": "t", "expires_in": expires_in}), now=1000)

    assert auth.authorization(1000 + last) == "Bearer t"
    assert auth.authorization(1000 + due) is None


def test_a_token_that_is_due_can_be_offered_until_it_ends() -> None:
    auth = oauth(renew_before=120)
    assert auth.postpone(0) is None
    auth.receive_token(answer({"access_token": "t", "expires_in": 3600}), now=0)

    assert auth.authorization(3500) is None
    assert auth.postpone(3500) == auth.authorization(3529.9) == "Bearer t"
    assert auth.authorization(3530) is None
    assert auth.postpone(3590) == auth.authorization(3599.9) == "Bearer t"
    assert auth.authorization(3600) is None
    assert auth.postpone(3600) is None
    auth.reject("Bearer t")
    assert auth.postpone(3599) is None


def test_only_the_present_token_can_be_rejected() -> None:
    """A late rejection of the old token must not throw away the new one."""
    auth = oauth()
    auth.receive_token(answer({"access_token": "old"}), now=0)
    auth.receive_token(answer({"access_token": "new"}), now=1)

    assert auth.reject("Bearer old")
    assert auth.authorization(2) == "Bearer new"
    assert auth.reject("Bearer new")
    assert auth.authorization(2) is None


@given(body=st.binary(max_size=300), status=st.integers(100, 599))
@example(body=b"[" * 1_000_000, status=500)
@example(body=b'{"access_token":' + b"9" * 400 + b',"expires_in":' + b"9" * 400 + b"}", status=200)
@example(body=b'{"access_token":NaN}', status=200)
@example(body=b'{"access_token":"\\ud800"}', status=200)
@example(body=b'{"access_token":"a","access_token":"b","expires_in":1e999}', status=200)
def test_any_bytes_give_a_token_or_our_error(body: bytes, status: int) -> None:
    auth = oauth()

    try:
        auth.receive_token(answer(body, status), now=0)
    except NotSentError:
        assert auth.authorization(0) is None
    else:
        assert (auth.authorization(0) or "").startswith("Bearer ")


def test_nothing_shows_the_secret() -> None:
    auth = oauth()
    auth.receive_token(answer({"access_token": "very-secret"}), now=0)

    shown = repr(auth) + str(auth) + repr(auth.token_request()) + repr(BearerToken("very-secret"))

    assert "SECRET" not in shown
    assert "very-secret" not in shown
    assert "EXAMPLE_CLIENT_ID" not in shown


@pytest.mark.parametrize("secret", ["", "  ", "a\nb", "ä", None])
def test_unusable_credentials_are_refused_without_showing_them(secret: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^client_secret (is missing|has characters)") as caught:
        KpnOAuth("id", secret)

    assert not secret or not secret.strip() or secret not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "message"), [(5, "must be text, not int"), (b"id", "must be text, not bytes")]
)
def test_credentials_of_another_type_are_not_called_missing(value: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^client_id {message}$"):
        KpnOAuth(value, "secret")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("https://h/x?y=1", "must not have a query"),
        ("https://h/x?", "must not have a query"),
        ("https://h/x#f", "must not have a fragment"),
        ("https://h/a b", "has blanks or characters"),
        ("https://h/a\r\nX-Evil: 1", "has blanks or characters"),
        ("https://h/\u00e9", "has blanks or characters"),
        ("https://h\u00e9/", "has blanks or characters"),
    ],
)
def test_base_urls_are_what_a_path_can_be_appended_to(url: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^base_url {message}") as caught:
        check_url("base_url", url)

    assert url not in str(caught.value)


def test_a_token_url_may_have_a_query_and_nothing_else() -> None:
    assert check_url("token_url", " https://h/t?a=b ", query=True) == "https://h/t?a=b"
    with pytest.raises(ConfigurationError, match="fragment"):
        check_url("token_url", "https://h/t?a=b#c", query=True)


@pytest.mark.parametrize(
    "url", ["", "ftp://host/", "https://", "https://user:pass@host/", "host/path", "https://h:x/", None]
)
def test_token_urls_are_checked(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^token_url "):
        KpnOAuth("id", "secret", url)


def test_a_ready_token_is_used_as_it_is() -> None:
    """Contract 9.16: the caller may supply a bearer token."""
    auth = BearerToken("abc")

    assert auth.authorization(1e12) == "Bearer abc"
    assert not auth.reject("Bearer abc")
    with pytest.raises(ConfigurationError):
        auth.token_request()
    with pytest.raises(ConfigurationError):
        auth.receive_token(answer({}), 0)


@pytest.mark.parametrize("auth", [oauth(), BearerToken("t"), BasicAuth("k", "s")])
def test_all_follow_the_protocol(auth: Auth) -> None:
    assert isinstance(auth, Auth)


# --- Vonage itself --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa_key()


def pem_of(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def claims_of(authorization: str, key: rsa.RSAPrivateKey) -> dict[str, Any]:
    token = authorization.removeprefix("Bearer ")
    expected = payload("auth/vonage_jwt_claims.json")["header"]
    assert jwt.get_unverified_header(token) == expected
    options: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}
    claims: dict[str, Any] = jwt.decode(token, key.public_key(), algorithms=["RS256"], options=options)
    return claims


def test_basic_is_key_and_secret() -> None:
    """Contract 2.4."""
    auth = BasicAuth("abcd", "efgh")

    assert auth.authorization(0) == "Basic YWJjZDplZmdo"
    assert repr(auth) == "BasicAuth(…)"
    assert not auth.reject("Basic YWJjZDplZmdo")


def test_a_jwt_has_the_claims_of_the_contract(key: rsa.RSAPrivateKey) -> None:
    expected = payload("auth/vonage_jwt_claims.json")["claims"]
    auth = VonageJWT(
        expected["application_id"],
        key,
        paths=list(expected["acl"]["paths"]),
        clock=lambda: expected["iat"] + 0.5,
    )

    claims = claims_of(auth.authorization(0), key)

    assert claims.keys() == expected.keys()
    assert {**claims, "jti": expected["jti"]} == expected


@pytest.mark.parametrize("form", ["text", "bytes", "path", "path text", "loaded"])
def test_a_key_comes_in_any_form(key: rsa.RSAPrivateKey, tmp_path: Path, form: str) -> None:
    path = tmp_path / "private.key"
    path.write_text(pem_of(key))
    forms: dict[str, Any] = {
        "text": pem_of(key),
        "bytes": pem_of(key).encode(),
        "path": path,
        "path text": str(path),
        "loaded": key,
    }

    auth = VonageJWT("app", forms[form], subject="me")
    path.unlink()

    assert claims_of(auth.authorization(0), key)["sub"] == "me"


def test_a_jwt_is_kept_and_renewed_early(key: rsa.RSAPrivateKey) -> None:
    moment = [1_762_941_600.0]
    auth = VonageJWT("app", key, lifetime=900, clock=lambda: moment[0])
    first = auth.authorization(0)

    moment[0] += 839
    assert auth.authorization(0) == first
    moment[0] += 1
    second = auth.authorization(0)
    assert second != first
    moment[0] -= 10
    assert auth.authorization(0) != second, "a token from the future is of no use"


def test_one_path_is_one_path(key: rsa.RSAPrivateKey) -> None:
    auth = VonageJWT(uuid.UUID("7d1c2f6a-0b0e-4b57-9a2e-3f1f0a9f6c11"), key, paths="/*/dispatch/**")

    claims = jwt.decode(auth.token(), options={"verify_signature": False})

    assert claims["acl"] == {"paths": {"/*/dispatch/**": {}}}
    assert claims["application_id"] == "7d1c2f6a-0b0e-4b57-9a2e-3f1f0a9f6c11"


def test_a_rejected_jwt_is_replaced(key: rsa.RSAPrivateKey) -> None:
    auth = VonageJWT("app", key)
    first = auth.authorization(0)

    assert auth.reject("Bearer other")
    assert auth.authorization(0) == first
    assert auth.reject(first)
    assert auth.authorization(0) != first


def test_a_token_for_linking_a_page_has_its_own_life(key: rsa.RSAPrivateKey) -> None:
    claims = claims_of(VonageJWT("app", key).token(lifetime=3600), key)

    assert claims["exp"] - claims["iat"] == 3600


@pytest.mark.parametrize(
    ("private_key", "message"),
    [
        ("-----BEGIN PRIVATE KEY-----\nvery-secret\n-----END PRIVATE KEY-----", "neither PEM text"),
        (b"very-secret", "neither PEM text"),
        ("/nowhere/very.key", "the file cannot be read: No such file or directory"),
        (pem_of(ec.generate_private_key(ec.SECP256R1())), "not an RSA key"),
    ],
    ids=["no key", "no PEM", "no file", "no RSA"],  # a new key each time is no name for a test
)
def test_an_unusable_key_is_refused_without_showing_it(private_key: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        VonageJWT("app", private_key)

    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("lifetime", [29, 86_401])
def test_a_jwt_lives_from_30_seconds_to_a_day(key: rsa.RSAPrivateKey, lifetime: int) -> None:
    with pytest.raises(ConfigurationError, match=f"not {lifetime}"):
        VonageJWT("app", key, lifetime=lifetime)
    with pytest.raises(ConfigurationError, match=f"not {lifetime}"):
        VonageJWT("app", key).token(lifetime=lifetime)
