"""`sign` and `verify`: the vectors of the contract, a second implementation, and anything malformed."""

import base64
import contextlib
import hashlib
import json
from typing import Any

import jwt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nexmo_dispatch_webhooks import Claims, SignatureVerificationError, TokenTimeError, sign, verify
from tests.webhooks.payloads import NOW, SECRETS, VECTORS

BODY = b'{"status": "delivered"}'
SECRET = "example-signature-secret-for-tests-0123456789"
GOOD: dict[str, Any] = {
    "iat": 1_000_000,
    "jti": "j",
    "iss": "Vonage",
    "payload_hash": hashlib.sha256(BODY).hexdigest(),
    "api_key": "k",
}


def segment(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(claims: Any, secret: str = SECRET, **header: Any) -> str:
    """A token by the other implementation, PyJWT, with any claims and header members."""
    return "Bearer " + jwt.encode(claims, secret, algorithm="HS256", headers=header or None)


def raw_token(header: Any, claims: Any, secret: str = SECRET) -> str:
    """A correctly signed token whose segments are anything."""
    return signed_text(f"{segment(header)}.{segment(claims)}", secret)


def signed_text(signed: str, secret: str = SECRET) -> str:
    """A token whose signature fits whatever stands before it."""
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(
        signed.encode(), secret.encode()
    )
    return f"Bearer {signed}.{segment(signature)}"


def accept(authorization: str | bytes | None, *, now: float = 1_000_010, **settings: Any) -> Claims:
    return verify(BODY, authorization, secrets={"k": SECRET}, now=now, **settings)


# --- vectors (contract 5.9, payloads/auth) ---


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["name"])
def test_vector(case: dict[str, Any]) -> None:
    """What each vector expects; a token without a hash is refused by default."""
    body = case["raw_body"].encode()

    if case["expect"] == "accept":
        claims = verify(body, case["authorization"], secrets=SECRETS, now=NOW)

        assert (claims.api_key, claims.jti, claims.iat) == tuple(
            VECTORS["claims"][n] for n in ("api_key", "jti", "iat")
        )
    else:
        with pytest.raises(SignatureVerificationError):
            verify(body, case["authorization"], secrets=SECRETS, now=NOW)


def test_hash_checking_can_be_optional() -> None:
    """The vector without `payload_hash` is accepted on request; a wrong hash never is."""
    case = next(case for case in VECTORS["cases"] if case["name"] == "no payload_hash claim")

    claims = verify(
        case["raw_body"].encode(), case["authorization"], secrets=SECRETS, now=NOW, require_payload_hash=False
    )

    assert claims.payload_hash is None
    with pytest.raises(SignatureVerificationError, match="not the one that was signed"):
        accept(token({**GOOD, "payload_hash": "0" * 64}), require_payload_hash=False)


def test_sign_makes_the_vector() -> None:
    """Byte for byte what the service sends."""
    claims = VECTORS["claims"]

    authorization = sign(
        VECTORS["raw_body"].encode(),
        secret=VECTORS["signature_secret"],
        **{name: claims[name] for name in ("api_key", "iat", "jti", "application_id")},
    )

    assert authorization == VECTORS["cases"][0]["authorization"]


# --- against PyJWT ---


@pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")  # short secrets occur
@given(
    body=st.binary(max_size=200),
    secret=st.text(min_size=1, max_size=100),
    key=st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=10),
)
def test_the_other_implementation_reads_what_we_sign(body: bytes, secret: str, key: str) -> None:
    """Whatever the body, the secret (also longer than a hash block) and the key."""
    secret = secret.encode("utf-8", "replace").decode()
    key = key.encode("utf-8", "replace").decode()

    authorization = sign(body, secret=secret, api_key=key, iat=1_000_000, jti="j")
    claims = jwt.decode(authorization.removeprefix("Bearer "), secret, algorithms=["HS256"])

    assert claims["payload_hash"] == hashlib.sha256(body).hexdigest()
    assert "application_id" not in claims
    assert verify(body, authorization, secrets={key: secret}, now=1_000_000).api_key == key


@pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")  # short secrets occur
@given(st.text("ab", min_size=1, max_size=3), st.integers(0, 3))
def test_we_read_what_the_other_implementation_signs(secret: str, extra: int) -> None:
    """Header order and extra header members do not matter."""
    authorization = token(GOOD, secret, **({"kid": "x" * extra} if extra else {}))

    assert verify(BODY, authorization, secrets={"k": secret}, now=1_000_000).jti == "j"


@pytest.mark.parametrize("size", [63, 64, 65])
def test_a_secret_may_be_as_long_as_a_block_of_the_hash_or_longer(size: int) -> None:
    """RFC 2104: longer than 64 bytes, it is hashed first."""
    secret = "s" * size

    assert verify(BODY, token(GOOD, secret), secrets={"k": secret}, now=1_000_000).jti == "j"


@given(st.data())
def test_what_the_other_implementation_refuses_we_refuse(data: st.DataObject) -> None:
    """Damage a good token anywhere: ours accepts nothing that PyJWT with pinned HS256 does not."""
    good = bytearray(token(GOOD).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(7, len(good) - 1))
        good[place] = data.draw(st.integers(32, 126))
    damaged = good.decode()

    try:
        jwt.decode(
            damaged.removeprefix("Bearer "),
            SECRET,
            algorithms=["HS256"],
            options={"require": ["iat", "jti", "iss"], "verify_iat": False},
        )
        theirs = True
    except jwt.InvalidTokenError:
        theirs = False
    try:
        accept(damaged)
        ours = True
    except SignatureVerificationError:
        ours = False

    assert theirs or not ours


# --- what is refused ---


@pytest.mark.parametrize(
    "authorization",
    [
        *(
            None,
            "",
            "Bearer",
            "Bearer ",
            "Bearer a.b",
            "Bearer a.b.c",
            "Bearer a.b.c.d",
            "Basic YTpi",
            "Bearer ..",
            "\x00",
        ),
        *(b"\xff\xfe", "Bearer \xe9.\xe9.\xe9", "Bearer " + "a" * 100_000, "\ud800"),
        token(GOOD).replace("Bearer ", "Token "),
        token(GOOD).replace("Bearer ", "Bearer"),
        token(GOOD) + "=",
        token(GOOD) + "\n.x",
        token(GOOD, "another-secret-that-is-long-enough-for-sha256"),
        token({**GOOD, "api_key": "other"}),
        token({name: value for name, value in GOOD.items() if name != "api_key"}),
        token({name: value for name, value in GOOD.items() if name != "iat"}),
        token({name: value for name, value in GOOD.items() if name != "jti"}),
        token({name: value for name, value in GOOD.items() if name != "iss"}),
        token({**GOOD, "iss": "vonage"}),
        token({**GOOD, "payload_hash": "x"}),
        token({**GOOD, "payload_hash": GOOD["payload_hash"].upper()}),
        raw_token({"alg": "HS256"}, {**GOOD, "payload_hash": "\u00e9"}),
        raw_token({"alg": "HS256"}, {**GOOD, "payload_hash": 5}),
        raw_token({"alg": "HS256"}, {**GOOD, "iat": "1000000"}),
        raw_token({"alg": "HS256"}, {**GOOD, "iat": True}),
        raw_token({"alg": "HS256"}, {**GOOD, "jti": 5}),
        raw_token({"alg": "HS256"}, {**GOOD, "sub": 5}),
        raw_token({"alg": "HS256"}, [GOOD]),
        raw_token({"alg": "HS256"}, b"\xff"),
        raw_token({"alg": "HS256"}, b"[" * 5000),
        raw_token({"alg": "HS256", "crit": ["b64"], "b64": False}, GOOD),
        raw_token({"alg": "HS256", "crit": None}, GOOD),
        raw_token({"alg": "hs256"}, GOOD),
        raw_token({"alg": "HS512"}, GOOD),
        raw_token({"alg": "none"}, GOOD),
        raw_token({"alg": "RS256"}, GOOD),
        raw_token({"typ": "JWT"}, GOOD),
        raw_token([], GOOD),
        raw_token(b"{", GOOD),
        raw_token(b"[" * 2000, GOOD),
        "Bearer " + raw_token({"alg": "none"}, GOOD).removeprefix("Bearer ").rpartition(".")[0] + ".",
    ],
)
def test_refused(authorization: str | bytes | None) -> None:
    """Missing, malformed, forged, or for another receiver: always our error (contract 5.9)."""
    with pytest.raises(SignatureVerificationError):
        accept(authorization)


def test_rs256_with_the_secret_as_key_is_refused() -> None:
    """The algorithm is pinned, so a header cannot choose another."""
    forged = raw_token({"alg": "RS256", "typ": "JWT"}, GOOD)

    with pytest.raises(SignatureVerificationError, match="not signed with HS256"):
        accept(forged)


@pytest.mark.parametrize("junk", ["====", "++++", "////", "????", "~~~~"])
def test_a_token_that_is_not_base64url_throughout_is_refused(junk: str) -> None:
    """Rightly signed, with characters in it that a lenient decoder leaves out (RFC 7515, 2)."""
    header, claims = segment({"alg": "HS256"}), segment(GOOD)

    assert accept(signed_text(f"{header}.{claims}")).jti == "j"
    for spoilt in (f"{header}.{claims[:8]}{junk}{claims[8:]}", f"{header[:8]}{junk}{header[8:]}.{claims}"):
        with pytest.raises(SignatureVerificationError):
            accept(signed_text(spoilt))


@pytest.mark.parametrize(("size", "accepted"), [(8192, True), (8193, False)])
def test_a_token_has_at_most_8192_characters(size: int, accepted: bool) -> None:
    """That bounds the work on hostile input."""
    fitting = (token({**GOOD, "jti": "j" * length}) for length in range(5900, 6000))
    authorization = next(each for each in fitting if len(each) == len("Bearer ") + size)

    if accepted:
        assert accept(authorization).api_key == "k"
    else:
        with pytest.raises(SignatureVerificationError, match="holds no signed token"):
            accept(authorization)


@given(
    st.one_of(
        st.none(), st.text(max_size=60), st.binary(max_size=60), st.text(max_size=40).map("Bearer {}".format)
    )
)
@example("Bearer " + "." * 10_000)
def test_any_header_gives_our_error(authorization: str | bytes | None) -> None:
    with pytest.raises(SignatureVerificationError):
        accept(authorization)


@given(
    claims=st.dictionaries(
        st.sampled_from([*GOOD, "exp", "nbf", "aud", "sub"]),
        st.one_of(st.none(), st.integers(), st.floats(), st.text(max_size=5), st.lists(st.none())),
        max_size=4,
    )
)
def test_any_claims_under_a_good_signature_give_claims_or_our_error(claims: dict[str, Any]) -> None:
    """Who holds the secret may still send nonsense."""
    authorization = raw_token({"alg": "HS256"}, {**GOOD, **claims})

    with contextlib.suppress(SignatureVerificationError):
        assert isinstance(accept(authorization), Claims)


# --- time ---


@pytest.mark.parametrize(
    ("now", "accepted"),
    [
        (1_000_000, True),
        (1_000_000 - 300, True),
        (1_000_000 - 301, False),
        (1_000_000 + 24 * 3600, True),
        (1_000_000 + 25 * 3600, True),
        (1_000_000 + 25 * 3600 + 1, False),
    ],
)
def test_age(now: float, accepted: bool) -> None:
    """A repeated delivery may carry its first token for 24 hours; clocks differ (contract 5.9)."""
    if accepted:
        accept(token(GOOD), now=now)
    else:
        with pytest.raises(SignatureVerificationError):
            accept(token(GOOD), now=now)


@pytest.mark.parametrize("now", [GOOD["iat"] - 3600, GOOD["iat"] + 4 * 86400])
def test_a_genuine_token_at_another_time_may_come_again(now: float) -> None:
    """The clock of this machine is wrong by an hour or by days; what gets a 401 would be lost (5.9, 5.10)."""
    with pytest.raises(TokenTimeError) as caught:
        accept(token(GOOD), now=now)

    assert caught.value.status == 503


def test_a_forged_token_at_another_time_stays_forged() -> None:
    with pytest.raises(SignatureVerificationError, match="not the one") as caught:
        accept(raw_token({"alg": "HS256"}, {**GOOD, "payload_hash": "0", "iat": 1e300}))

    assert not isinstance(caught.value, TokenTimeError)


def test_age_can_be_unlimited() -> None:
    accept(token(GOOD), now=1e12, max_age=None)


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ({"exp": 999_000}, "expired"),
        ({"nbf": 1_001_000}, "not valid yet"),
        ({"aud": "x"}, "another receiver"),
        ({"iat": 1e300}, "future"),
        ({"iat": -1e300}, "too old"),
    ],
)
def test_registered_claims_count(claims: dict[str, Any], message: str) -> None:
    """The service sends neither `exp` nor `nbf` today; RFC 7519 says what they would mean."""
    with pytest.raises(SignatureVerificationError, match=message):
        accept(raw_token({"alg": "HS256"}, {**GOOD, **claims}))


@pytest.mark.parametrize(
    ("claims", "accepted"),
    [
        ({"exp": 1_000_010 - 299}, True),
        ({"exp": 1_000_010 - 300}, False),
        ({"nbf": 1_000_010 + 300}, True),
        ({"nbf": 1_000_010 + 301}, False),
    ],
)
def test_clocks_may_differ_for_these_too(claims: dict[str, Any], accepted: bool) -> None:
    """The leeway of `iat` holds for `exp` and `nbf` (contract 5.9; RFC 7519, 4.1.4 and 4.1.5)."""
    authorization = raw_token({"alg": "HS256"}, {**GOOD, **claims})

    if accepted:
        accept(authorization)
    else:
        with pytest.raises(SignatureVerificationError):
            accept(authorization)
    with pytest.raises(SignatureVerificationError):
        accept(authorization, leeway=1)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_the_scheme_has_any_case(scheme: str) -> None:
    """Contract 5.9 says `Bearer`; schemes compare without case (RFC 9110, 11.1)."""
    assert accept(token(GOOD).replace("Bearer", scheme)).jti == "j"


def test_now_is_now() -> None:
    """Without a clock, the clock of the machine."""
    authorization = sign(BODY, secret=SECRET, api_key="k", jti="j")

    assert verify(BODY, authorization, secrets={"k": SECRET}).iat > 1_700_000_000


# --- secrets ---


@pytest.mark.parametrize("secrets", [[SECRET, "old"], ("old", SECRET.encode()), SECRET.encode()])
def test_several_secrets_during_a_rotation(secrets: Any) -> None:
    """Old and new are accepted, whatever their order; bytes as well as text."""
    assert verify(BODY, token(GOOD), secrets={"k": secrets}, now=1_000_000).api_key == "k"


@pytest.mark.parametrize("secrets", ["", [], [""], ["wrong", ""], None])
def test_an_empty_secret_verifies_nothing(secrets: Any) -> None:
    """An empty setting must not accept any signature."""
    forged = sign(BODY, secret="", api_key="k", iat=1_000_000, jti="j")

    with pytest.raises(SignatureVerificationError):
        verify(BODY, forged, secrets={"k": secrets}, now=1_000_000)


@pytest.mark.parametrize("after", ["é", "\ud800", "\u200b", "²", "\x00"])
def test_a_genuine_token_with_anything_after_it_is_refused(after: str) -> None:
    """The usual beginning shortens the work, not the check; and no error but ours comes out of it."""
    genuine = sign(BODY, api_key="k", secret=SECRET, iat=1_000_000, jti="j")

    assert accept(genuine).api_key == "k"
    for spoilt in (genuine + after, genuine[:30] + after + genuine[30:]):
        with pytest.raises(SignatureVerificationError):
            accept(spoilt)


@pytest.mark.parametrize(
    "written", ["{token}", " {token}", "{token} ", "\t{token}\r\n", " {token} ", "{scheme}   {rest} "]
)
@pytest.mark.parametrize("as_bytes", [False, True])
@pytest.mark.parametrize("usual", [True, False])
def test_blanks_around_a_token_do_not_matter(written: str, as_bytes: bool, usual: bool) -> None:
    """RFC 9110: blanks around the value of a header are no part of it; with the usual header and another."""
    genuine = (
        sign(BODY, api_key="k", secret=SECRET, iat=1_000_000, jti="j") if usual else token(GOOD, typ="x")
    )
    scheme, _, rest = genuine.partition(" ")
    authorization = written.format(token=genuine, scheme=scheme, rest=rest)

    assert accept(authorization.encode() if as_bytes else authorization).api_key == "k"
