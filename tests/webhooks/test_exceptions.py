"""The error tree of the receiver: complete, drawn, answered with the right status, and picklable."""

import inspect
import pickle

import pytest

from nexmo_dispatch_webhooks import exceptions
from nexmo_dispatch_webhooks.exceptions import (
    HandlerError,
    HandlerFailure,
    SignatureVerificationError,
    WebhookError,
)

ERRORS = [
    value for value in vars(exceptions).values() if inspect.isclass(value) and issubclass(value, Exception)
]


@pytest.mark.parametrize("error", ERRORS)
def test_every_error_is_a_webhook_error_and_is_drawn(error: type[WebhookError]) -> None:
    """One base catches everything, and the tree at the top of the module shows all of it."""
    assert issubclass(error, WebhookError)
    assert error.__name__ in exceptions.__all__
    assert error.__name__ in (exceptions.__doc__ or "")


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("InvalidBodyError", 400),
        ("SignatureVerificationError", 401),
        ("MissingSignatureError", 503),
        ("TokenTimeError", 503),
        ("CrossSiteRequestError", 403),
        ("RequestTimeoutError", 408),
        ("BodyTooLargeError", 413),
        ("UnsupportedMediaTypeError", 415),
        ("ConfigurationError", 500),
        ("RouterError", 500),
        ("HandlerError", 500),
    ],
)
def test_every_error_knows_its_answer(name: str, status: int) -> None:
    """The HTTP statuses of contract 5.10."""
    assert getattr(exceptions, name).status == status


def test_handler_error_names_handlers_and_types_only() -> None:
    """The text of a handler's exception may quote a customer, so it is not repeated."""
    error = HandlerError([HandlerFailure("app.on_read", ValueError("447700900000 said hello"))])

    assert str(error) == "failed: app.on_read (ValueError)"


def test_the_claimed_account_survives_pickling() -> None:
    """As every other fact that an error holds."""
    error = SignatureVerificationError("the signature does not match", claimed_api_key="a1b2c3d4")

    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes

    assert (str(copy), copy.claimed_api_key) == (str(error), "a1b2c3d4")


def test_handler_error_survives_pickling() -> None:
    """Errors travel between processes, for example from a worker."""
    error = HandlerError([HandlerFailure("app.on_read", ValueError("x"))])

    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes

    assert str(copy) == str(error)
