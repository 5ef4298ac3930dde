"""Each error of a call says what to do next, in its text and as `next_step`."""

import pickle

import pytest

from nexmo_dispatch_async import exceptions
from nexmo_dispatch_async.durations import in_words
from nexmo_dispatch_async.exceptions import (
    APIError,
    AuthenticationError,
    ConflictError,
    NotSentError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RateLimitError,
    RefusedError,
)
from nexmo_dispatch_async.quota import Quota

CLASSES = [
    kind for kind in vars(exceptions).values() if isinstance(kind, type) and issubclass(kind, APIError)
]
# What the service refused for a reason of its own: only its words can say more.
SILENT = {APIError, RefusedError, ConflictError}


@pytest.mark.parametrize("kind", CLASSES)
def test_each_error_ends_with_its_next_step(kind: type[APIError]) -> None:
    """The text is the message and one sentence more, also after pickling; the message stays as it was."""
    error = kind("POST /dispatch: 500", request="POST /dispatch")

    assert bool(error.next_step) == (kind not in SILENT)
    assert "\n" not in error.next_step
    assert str(error) == f"POST /dispatch: 500{f'; {error.next_step}' if error.next_step else ''}"
    assert error.message == "POST /dispatch: 500"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 - our own bytes


def test_the_quota_is_named_with_its_reset() -> None:
    """An exhausted quota says how many calls of which window are gone, and when the next window begins."""
    error = RateLimitError("POST /dispatch: 429", retry_after=30)
    assert str(error).endswith("nothing was sent, so it may be repeated in 30 s")

    error.quota = Quota(limit=100, window=86_400.0, used=100, reset_in=11_099.5)
    assert error.next_step == "the quota of 100 calls per day is used up and resets in 3 h 5 min"
    error.quota = Quota(limit=1, window=172_800.0, used=1, reset_in=86_400.0)
    assert error.next_step == "the quota of 1 call per 2 days is used up and resets in 1 day"
    error.quota = Quota(limit=100, used=100)
    assert error.next_step == "the quota of 100 calls is used up and resets in 30 s"
    error.quota = Quota(limit=100, used=7)
    assert "in 30 s" in error.next_step


def test_an_unknown_outcome_says_not_to_repeat_it() -> None:
    """A send is not to be repeated, another call that writes not at once, and a read may be."""
    error = OutcomeUnknownError("sent, and no response in time", request="POST /dispatch")
    assert "do not repeat it" in str(error)
    assert "by a client_ref" in error.next_step
    error.client_refs = ("order-7",)
    assert "by its client_refs" in error.next_step
    assert "order-7" not in str(error)
    create = OutcomeUnknownError("no response", request="POST /applications")
    assert create.next_step == "do not repeat it before you have read whether it was done"
    assert "may be repeated" in OutcomeUnknownError("no response", request="GET /applications").next_step


def test_credentials_name_the_variables_to_set() -> None:
    """A 401 of the token endpoint, a 401 of the service and a 403 name the variables, and the rotation."""
    token = AuthenticationError("no access token: 401", phase="token")
    assert "NEXMO_DISPATCH_CLIENT_ID and NEXMO_DISPATCH_CLIENT_SECRET" in str(token)
    assert "rotated" in str(token)
    assert "NEXMO_DISPATCH_TOKEN_URL" in str(AuthenticationError("401"))
    assert "NEXMO_DISPATCH_APPLICATION_ID" in str(PermissionDeniedError("403"))
    assert str(NotSentError("no connection")).endswith("so it may be repeated")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.2, "1 s"),
        (59, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (3_600, "1 h"),
        (11_099.5, "3 h 5 min"),
        (90_061, "1 day 1 h"),
        (-5, "0 s"),
    ],
)
def test_durations_have_two_units(seconds: float, words: str) -> None:
    """The two largest units are exact enough for a wait, and a fraction is rounded up."""
    assert in_words(seconds) == words


@pytest.mark.parametrize(
    ("credentials", "cure"),
    [
        ("KpnOAuth", "let NEXMO_DISPATCH_TOKEN_URL and NEXMO_DISPATCH_BASE_URL name the same service"),
        ("VonageJWT", "check the settings of VonageJWT"),
        ("", "let NEXMO_DISPATCH_TOKEN_URL and NEXMO_DISPATCH_BASE_URL name the same service"),
    ],
)
def test_a_rejected_token_names_the_credentials_in_use(credentials: str, cure: str) -> None:
    """And no class that the client does not have."""
    error = AuthenticationError("POST /dispatch: 401")
    error.credentials = credentials

    assert error.next_step == cure
    assert pickle.loads(pickle.dumps(error)).next_step == cure  # noqa: S301 - our own bytes
