"""Promises of the error tree: one base, one outcome per branch, messages as interface."""

import copy
import inspect
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nexmo_dispatch_async import exceptions
from nexmo_dispatch_async.exceptions import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ClientClosedError,
    ConfigurationError,
    DispatchError,
    InvalidWorkflowError,
    NotSentError,
    OutcomeUnknownError,
    ProtocolError,
    RateLimitError,
    RefusedError,
    TokenUnavailableError,
)
from nexmo_dispatch_async.models.problems import Problem
from nexmo_dispatch_async.workflow import Finding, Workflow

CLASSES = [getattr(exceptions, name) for name in exceptions.__all__ if name.endswith("Error")]


@pytest.mark.parametrize("error", CLASSES)
def test_every_error_has_the_one_base(error: type[Exception]) -> None:
    """`except DispatchError` catches all that this package raises."""
    assert issubclass(error, DispatchError)


@pytest.mark.parametrize("error", CLASSES)
def test_every_error_is_exported_and_in_the_drawn_tree(error: type[Exception]) -> None:
    assert error.__module__ == "nexmo_dispatch_async.exceptions"
    assert re.search(rf"\b{error.__name__}\b", exceptions.__doc__ or "")


def test_the_page_shows_the_same_tree() -> None:
    drawn = (exceptions.__doc__ or "").splitlines()
    tree = [line.removeprefix("    ") for line in drawn if "Error  " in line]
    page = (Path(__file__).parent.parent / "docs" / "errors.md").read_text("utf-8").splitlines()

    assert [line for line in page if "Error  " in line and "|" not in line] == tree


def test_no_error_class_is_forgotten_in_all() -> None:
    defined = {
        name
        for name, value in vars(exceptions).items()
        if inspect.isclass(value) and value.__module__ == exceptions.__name__
    }

    assert {error.__name__ for error in CLASSES} == defined


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (NotSentError, "not_sent"),
        (APIConnectionError, "not_sent"),
        (APITimeoutError, "not_sent"),
        (AuthenticationError, "not_sent"),
        (RateLimitError, "not_sent"),
        (TokenUnavailableError, "not_sent"),
        (RefusedError, "refused"),
        (BadRequestError, "refused"),
        (OutcomeUnknownError, "unknown"),
        (ProtocolError, "unknown"),
    ],
)
def test_every_branch_has_its_outcome(error: type[APIError], outcome: str) -> None:
    assert error("x").outcome == outcome


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - our own bytes


@pytest.mark.parametrize("clone", [copy.copy, pickled])
def test_errors_survive_copying_and_pickling(clone: Callable[[APIError], APIError]) -> None:
    """An error crosses a process boundary with all that it knows."""
    error = BadRequestError(
        "no", request="POST /dispatch", status=400, details=Problem(title="T"), retry_after=2.0, attempts=3
    )

    twin = clone(error)

    assert type(twin) is BadRequestError
    assert vars(twin) == vars(error)
    assert str(twin) == "no"


def test_a_protocol_error_keeps_the_answer() -> None:
    """Contract 3.7: the body must reach the caller, because the messages may have been sent."""
    error = copy.copy(ProtocolError("odd", body=b"?", request="POST /dispatch", status=202))

    assert (error.body, error.status, error.request) == (b"?", 202, "POST /dispatch")


def test_an_invalid_workflow_lists_every_problem() -> None:
    findings = [
        Finding(rule="one", severity="error", step=1, field="to.number", message="is wrong"),
        Finding(rule="two", severity="error", step=2, field="from", message="is missing"),
    ]

    one, two = InvalidWorkflowError(findings[:1]), InvalidWorkflowError(findings)

    assert str(one).startswith("the workflow has 1 problem, nothing was sent:\n  step 1")
    assert str(two).startswith("the workflow has 2 problems, nothing was sent:\n")
    assert str(findings[1]) in str(two)
    assert pickled(two).findings == tuple(findings)


def test_wrong_settings_are_value_errors_and_wrong_use_is_a_runtime_error() -> None:
    assert issubclass(ConfigurationError, ValueError)
    assert issubclass(InvalidWorkflowError, ValueError)
    assert issubclass(ClientClosedError, RuntimeError)


def test_checking_a_bad_workflow_raises_it() -> None:
    bad = Workflow.failover()

    with pytest.raises(InvalidWorkflowError, match="nothing was sent"):
        bad.check()
