"""Refused requests: the status of the answer, the counts, and one log line per burst.

It does not decide about a request: `sansio` and the adapters have refused it already.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection
from typing import Literal

from nexmo_dispatch_core.bursts import Bursts
from nexmo_dispatch_webhooks.checks import checks
from nexmo_dispatch_webhooks.exceptions import (
    BodyTooLargeError,
    ConfigurationError,
    CrossSiteRequestError,
    InvalidBodyError,
    MissingSignatureError,
    RequestRefusedError,
    RequestTimeoutError,
    SignatureVerificationError,
    TokenTimeError,
    UnsupportedMediaTypeError,
)
from nexmo_dispatch_webhooks.logs import logger
from nexmo_dispatch_webhooks.sansio import Answer

__all__ = ["Refusals", "WrongSignature"]

#: 401: the service gives the callback up. 503: the service repeats it for 24 hours (contract 5.10).
WrongSignature = Literal[401, 503]

#: What an account may look like in a log line; a claim comes from anywhere and could hold anything.
_PRINTABLE = re.compile(r"[A-Za-z0-9_-]{1,40}")

#: What to do about a request that is refused before its signature is checked.
_ADVICE: dict[type[RequestRefusedError], str] = {
    BodyTooLargeError: ". If it was the service, raise `max_body`",
    RequestTimeoutError: ". If it was the service, look at the proxy in front, or raise `body_timeout`",
    UnsupportedMediaTypeError: ". If it was the service, let no proxy change the body",
    InvalidBodyError: ". If it was the service, a proxy has changed the body",
    CrossSiteRequestError: ". Give the receiver `secrets`, so that no web page can post callbacks",
}


class Refusals:
    """Answers, counts and logs refused requests.

    Args:
        wrong_signature: The status of a token or signature that is there and wrong.
        api_keys: The accounts whose secrets are known; each has log lines of its own, so that no stranger
            can hide the line of an account whose secret was changed.
        monotonic: Gives seconds, for the length of a burst.

    Raises:
        ConfigurationError: *wrong_signature* is neither 401 nor 503, or *monotonic* is no function.
    """

    def __init__(
        self,
        *,
        wrong_signature: WrongSignature = 401,
        api_keys: Collection[str] = (),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        _check(wrong_signature)
        checks.function("monotonic", monotonic)
        self._wrong_signature: WrongSignature = wrong_signature
        self._api_keys = frozenset(api_keys)
        #: Since the start: requests without a token or signature, with a wrong one, and with a genuine one
        #: outside its time, which the service repeats until the clock is right.
        self.missing_signatures: int = 0
        self.wrong_signatures: int = 0
        self.wrong_token_times: int = 0
        self._bursts = Bursts(monotonic)

    def answer(self, error: RequestRefusedError) -> Answer:
        """Count a refusal, log it if it is the first of its burst, and return the answer."""
        status, api_key = error.status, None
        if isinstance(error, MissingSignatureError):
            self.missing_signatures += 1
        elif isinstance(error, TokenTimeError):
            self.wrong_token_times += 1
            api_key = error.claimed_api_key
        elif isinstance(error, SignatureVerificationError):
            self.wrong_signatures += 1
            status, api_key = self._wrong_signature, error.claimed_api_key
        more = self._bursts.begin(type(error), api_key if api_key in self._api_keys else None)
        if more is not None:
            kind, advice = type(error).__name__, self._advice(error, api_key, status)
            logger.warning("refused with %d: %s: %s%s%s", status, kind, error, advice, more)
        return Answer(status, str(error))

    def _advice(self, error: RequestRefusedError, api_key: str | None, status: int) -> str:
        """Return advice for the operator."""
        if isinstance(error, MissingSignatureError):
            return (
                "; the service repeats it. If no callback comes signed, ask for signed webhooks, or choose "
                "another `verification`"
            )
        if not isinstance(error, SignatureVerificationError):
            advice = _ADVICE.get(type(error), "")
            return f"; the sender is not known, and the service does not repeat it{advice}"
        if api_key is None:
            claim = ""
        elif api_key in self._api_keys or _PRINTABLE.fullmatch(api_key):
            claim = f"; the token claims api_key {api_key!r}"
        else:
            claim = "; the token claims an api_key that is none"
        fate = "the service repeats it" if status == 503 else "the service does not repeat it"
        if isinstance(error, TokenTimeError):
            return f"{claim}, {fate}. Set this machine's clock right: the signature itself is genuine"
        if api_key is not None and api_key not in self._api_keys:
            return f"{claim}, {fate}. If that account is yours, add its signature secret to `secrets`"
        return (
            f"{claim}, {fate}. If a secret was changed, give the new one beside the old one; "
            "wrong_signature=503 lets callbacks wait for that"
        )


def _check(wrong_signature: object) -> None:
    if not isinstance(wrong_signature, int) or wrong_signature not in (401, 503):
        raise ConfigurationError(
            "wrong_signature must be 401, which the service takes as final, or 503, after which it repeats "
            f"the callback for 24 hours, not {wrong_signature!r}"
        )
