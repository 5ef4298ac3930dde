"""The probe of `nexmo-dispatch doctor`: an unsigned request whose sender proves that it knows the secret.

A receiver refuses a probe like every unsigned request. It only neither counts nor logs the refusal, so that
no examination looks like an account that does not sign.
"""

from __future__ import annotations

import uuid
from typing import Final

from nexmo_dispatch_webhooks.exceptions import SignatureVerificationError
from nexmo_dispatch_webhooks.sansio import JwtVerification, RawRequest, Verification
from nexmo_dispatch_webhooks.signature import sign

__all__ = ["HEADER", "is_probe", "probe_headers"]

#: The header with the proof: a token like that of a callback, over other bytes.
HEADER: Final = "nexmo-dispatch-probe"
#: Stands before the body that is signed, so that no proof is the signature of a callback.
_PREFIX: Final = b"nexmo-dispatch doctor: unsigned on purpose\n"


def probe_headers(body: bytes, *, secret: str | bytes, api_key: str, iat: int) -> dict[str, str]:
    """Return the headers that make an unsigned request a probe.

    Args:
        body: The raw body.
        secret: A signature secret of the account.
        api_key: The account.
        iat: Epoch seconds.
    """
    token = sign(_PREFIX + body, secret=secret, api_key=api_key, iat=iat, jti=str(uuid.uuid4()))
    return {HEADER: token}


def is_probe(request: RawRequest, verification: Verification | None) -> bool:
    """Return whether the sender of a request without a signature has proved that it knows the secret."""
    token = request.headers.get(HEADER)
    if not token or not isinstance(verification, JwtVerification):
        return False
    try:
        verification.verify(RawRequest({"authorization": token}, _PREFIX + request.body))
    except SignatureVerificationError:
        return False
    return True
