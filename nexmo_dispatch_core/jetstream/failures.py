"""What an exception of nats-py, or an error of JetStream, means, in words without personal data.

The text of an error of the server may quote subjects and users, so only its number and a reason from a few
known ones are shown.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import msgspec
from msgspec import Struct
from nats import errors

from nexmo_dispatch_core.documentation import read_on

__all__ = [
    "TROUBLE",
    "ClosedError",
    "Failure",
    "MakeError",
    "RefusedError",
    "WrongSequenceError",
    "failure_of",
    "is_denied",
]

#: `away`: no connection, no leader or no response in time; `full`: no room; `rights`: wrong credentials, or
#: the user may not do it; `missing`: there is no such stream; `closed`: the store was closed.
FailureKind = Literal["away", "full", "rights", "missing", "closed", "other"]


class Failure(Struct, frozen=True):
    """Why a call failed."""

    kind: FailureKind
    #: For a message, without personal data and without the URL.
    text: str


#: Makes the error that a package raises.
MakeError = Callable[[Failure], Exception]


class RefusedError(Exception):
    """The server's response is an error; *number* is the `err_code` of JetStream."""

    def __init__(self, number: int, status: int = 0) -> None:
        super().__init__(number, status)
        self.number = number
        self.status = status


class WrongSequenceError(Exception):
    """The last message of a subject is another one than a write expected; nothing was stored.

    Or another write of the subject is on its way, and its outcome is not known yet: read, and try again.
    """


class ClosedError(Exception):
    """The connection was closed by its owner."""


class RightsError(Exception):
    """The server said, beside any response, that the user may not do this."""


#: Everything that a call raises besides `WrongSequenceError`.
TROUBLE: Final = (
    errors.Error,
    RefusedError,
    RightsError,
    ClosedError,
    msgspec.MsgspecError,
    OSError,
    TimeoutError,
)

# Numbers of https://github.com/nats-io/nats-server/blob/main/server/errors.json.
# The second one for a subject with a write on its way.
WRONG_SEQUENCE: Final = frozenset({10071, 10164})
STREAM_MISSING: Final = 10059
MESSAGE_MISSING: Final = 10037
_FULL: Final = frozenset({10023, 10028, 10047, 10077, 10122})
_MISSING: Final = frozenset({STREAM_MISSING, 10060})
#: Fewer servers are there than a stream is to have replicas, as in a cluster that starts.
_FEW_SERVERS: Final = 10005
# No leader, no quorum, or a batch that lost its leader in the middle.
_AWAY: Final = frozenset({10008, 10009, 10074, 10118, 10175, 10176, 10210})
_DISABLED: Final = frozenset({10039, 10076})


def failure_of(error: BaseException) -> Failure:
    """Return what an exception of `TROUBLE` means."""
    if isinstance(error, ClosedError):
        return Failure("closed", "it is closed")
    if isinstance(error, RefusedError):
        return _refused(error)
    if isinstance(error, RightsError):
        return Failure("rights", f"the user of NATS may not do this: see the rights in {read_on('nats')}")
    if is_denied(error):
        return Failure("rights", "NATS refused the credentials")
    if isinstance(error, errors.NoRespondersError):
        return Failure("away", "the stream has no leader now")
    if isinstance(error, errors.MaxPayloadError):
        return Failure("other", "a message is larger than the server's max_payload")
    if isinstance(error, msgspec.MsgspecError):
        return Failure("other", "a response of NATS cannot be read")
    if isinstance(error, TimeoutError):
        return Failure("away", "NATS did not answer in time")
    return Failure("away", f"NATS cannot be reached ({_reason(error)})")


def is_denied(error: BaseException) -> bool:
    """Return whether the server refused the credentials."""
    if isinstance(error, errors.AuthorizationError | errors.InvalidUserCredentialsError):
        return True
    text = str(error).lower()  # while it connects, nats-py passes on the words of the server
    return isinstance(error, errors.Error) and ("authorization" in text or "authentication" in text)


def _refused(error: RefusedError) -> Failure:
    number = error.number
    if number in _FULL:
        return Failure("full", f"JetStream has no room (error {number})")
    if number in _MISSING:
        return Failure("missing", "the stream is not there: it was deleted, or never made")
    if number in _DISABLED:
        return Failure("other", "JetStream is not enabled for this server or account")
    if number == _FEW_SERVERS:
        return Failure("away", f"too few servers of NATS are there for the replicas (error {number})")
    if number in _AWAY or error.status == 503:
        return Failure("away", f"JetStream cannot serve now (error {number})")
    return Failure("other", f"JetStream refused this (error {number})")


def _reason(error: BaseException) -> str:
    """Return a reason from a few known ones: texts of errors name hosts and addresses."""
    text = str(error).lower()
    for word in (
        "connection refused",
        "name or service not known",
        "certificate",
        "ssl",
        "tls",
        "stale connection",
    ):
        if word in text:
            return word
    return type(error).__name__
