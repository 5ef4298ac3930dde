"""The next step after each error of a call, in one sentence that the text of the error ends with.

The sentences name the variables of `DispatchClient.from_env()` and hold no value of a request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from nexmo_dispatch_async.durations import in_words

if TYPE_CHECKING:
    from nexmo_dispatch_async.quota import Quota

__all__ = ["after_limit", "after_rejection", "after_unknown"]

NOT_SENT: Final = "nothing was sent, so it may be repeated"
NO_CONNECTION: Final = f"{NOT_SENT}; `nexmo-dispatch doctor` looks for the cause"
PROXY: Final = "check HTTPS_PROXY and NO_PROXY, or DispatchClient(proxy=…)"
CERTIFICATE: Final = "name the authority in SSL_CERT_FILE or DispatchClient(ssl=…), and check the clock"
STOPPED: Final = "this workflow was not sent, so it may be sent later"
BAD_REQUEST: Final = "correct the request; `nexmo-dispatch lint` finds most faults of a workflow"
NO_CREDIT: Final = "top up the account"
NOT_PERMITTED: Final = (
    "order the product for the project of NEXMO_DISPATCH_CLIENT_ID, or check that "
    "NEXMO_DISPATCH_APPLICATION_ID belongs to it"
)
NOT_FOUND: Final = "check the id, NEXMO_DISPATCH_APPLICATION_ID and NEXMO_DISPATCH_BASE_URL"
_CREDENTIALS: Final = (
    "set NEXMO_DISPATCH_CLIENT_ID and NEXMO_DISPATCH_CLIENT_SECRET, or the arguments of KpnOAuth, to those "
    "of one project; if its secret was rotated, set the new one and start this program again"
)
_OTHER_SERVICE: Final = "let NEXMO_DISPATCH_TOKEN_URL and NEXMO_DISPATCH_BASE_URL name the same service"


def after_rejection(phase: str, credentials: str) -> str:
    """Return which settings to look at after credentials or a token were rejected.

    Args:
        phase: Where the call failed: `token` for the token endpoint.
        credentials: Name of the class of the credentials, such as `KpnOAuth`; `""` if it is not known.
    """
    if phase == "token":
        return _CREDENTIALS
    return _OTHER_SERVICE if credentials in ("KpnOAuth", "") else f"check the settings of {credentials}"


def after_limit(quota: Quota | None, retry_after: float | None) -> str:
    """Return when to repeat a call that a quota or a rate limit rejected.

    Args:
        quota: According to the response.
        retry_after: Seconds that the service demands.
    """
    spent = quota is not None and quota.spent
    if quota is not None and spent:
        calls = "1 call" if quota.limit == 1 else f"{quota.limit} calls"
        window = f" per {in_words(quota.window).removeprefix('1 ')}" if quota.window else ""
        reset = quota.reset_in if quota.reset_in is not None else retry_after
        until = "" if reset is None else f" and resets in {in_words(reset)}"
        return f"the quota of {calls}{window} is used up{until}"
    return f"{NOT_SENT} {'later' if retry_after is None else f'in {in_words(retry_after)}'}"


def after_unknown(request: str, *, has_refs: bool) -> str:
    """Return why not to repeat a call whose outcome is unknown, and what tells the outcome.

    Args:
        request: Method and URL template.
        has_refs: Whether the steps have references, which callbacks repeat.
    """
    if request.startswith("GET "):
        return "it only reads, so it may be repeated"
    if not request.endswith("/dispatch"):
        return "do not repeat it before you have read whether it was done"
    known = "by its client_refs" if has_refs else "by a client_ref, if its steps had one"
    return f"do not repeat it: the messages may be under way, and only callbacks tell, {known}"
