"""Which callbacks an included router takes, by path and by account."""

from typing import Any

import pytest

from nexmo_dispatch_webhooks import Claims, Context, RouterError
from nexmo_dispatch_webhooks.selection import Scope

ANY = Context()
OF_A1 = Context(claims=Claims(iss="Vonage", iat=0.0, jti="j", api_key="a1"))


@pytest.mark.parametrize(
    ("prefix", "path", "rest"),
    [
        *(("", "status/x", "status/x"), ("", "/status/x/", "/status/x/"), ("/", "status", "status")),
        *(("status", "status", ""), ("status", "/status/", ""), ("/status/", "status/x/y", "/x/y")),
        *(("status", "statuses", None), ("status", "x/status", None), ("status", "", None)),
        *(("a/b", "a/b/c", "/c"), ("a/b", "a", None), ("X", "X/y", "/y"), ("aX", "aX/X", "/X")),
    ],
)
def test_a_prefix_is_a_path_of_whole_segments(prefix: str, path: str, rest: str | None) -> None:
    """Slashes around either do not matter; without a prefix the path stays as it is."""
    assert Scope.of(prefix, None).rest(ANY, path) == rest
    assert Scope().rest(ANY, path) == path


@pytest.mark.parametrize(
    ("account", "context", "taken"),
    [(None, ANY, True), (None, OF_A1, True), ("a1", OF_A1, True), ("b2", OF_A1, False), ("a1", ANY, False)],
)
def test_an_account_is_that_of_the_signature(account: str | None, context: Context, taken: bool) -> None:
    """What nothing signed is of no account."""
    assert (Scope.of("", account).rest(context, "status") == "status") is taken
    assert (Scope.of("status", account).rest(context, "status") == "") is taken


@pytest.mark.parametrize("account", ["", 7, ["a1"]])
def test_an_account_that_no_signature_can_have_is_refused(account: Any) -> None:
    with pytest.raises(RouterError, match="account must be the api_key of a signature, as text, not"):
        Scope.of("", account)
