"""Handlers get the arguments that they name."""

import functools
from typing import Any
from unittest.mock import AsyncMock

import pytest

from nexmo_dispatch_webhooks import (
    Context,
    Event,
    InboundMessage,
    MessageStatus,
    RouterError,
    UnknownEvent,
)
from nexmo_dispatch_webhooks.events import Kind
from nexmo_dispatch_webhooks.injection import (
    annotated_kinds,
    describe,
    plan_call,
    require_async,
    takes_context,
)

EVENT = UnknownEvent({"a": 1})
CONTEXT = Context("x", 0.0)


async def by_name(event: Any, context: Any, store: Any) -> Any:
    return event, context, store


async def by_annotation(status: MessageStatus, where: Context, *, store: Any) -> Any:
    return status, where, store


async def by_union(thing: MessageStatus | InboundMessage, where: Context, store: Any = None) -> Any:
    return thing, where, store


async def by_alias(thing: Event, /, where: Context, *rest: Any, store: Any, **more: Any) -> Any:
    return thing, where, store


class Callable:
    async def __call__(self, event: Any, context: Any, store: Any) -> Any:
        return event, context, store

    async def method(self, event: Any, context: Any, store: Any) -> Any:
        return event, context, store


async def five(extra: int, event: Any, context: Any, store: Any) -> Any:
    return event, context, store


@pytest.mark.parametrize(
    "handler",
    [by_name, by_annotation, by_union, by_alias, Callable(), Callable().method, functools.partial(five, 5)],
    ids=describe,
)
async def test_event_context_and_values_find_their_parameters(handler: Any) -> None:
    """By name, by annotation, in any kind of callable."""
    call = plan_call(handler, {"store": "the store"})

    assert await call(EVENT, CONTEXT) == (EVENT, CONTEXT, "the store")


async def test_defaults_fill_what_nothing_provides() -> None:
    assert await plan_call(by_union, {})(EVENT, CONTEXT) == (EVENT, CONTEXT, None)


async def test_a_handler_behind_a_decorator_is_called_as_itself_or_refused() -> None:
    """`functools.wraps` shows the parameters; without it the first event would be the first to fail."""

    async def hidden(*args: Any, **kwargs: Any) -> Any:
        return await by_name(*args, **kwargs)

    wrapped = functools.wraps(by_name)(hidden)

    assert await plan_call(wrapped, {"store": 1})(EVENT, CONTEXT) == (EVENT, CONTEXT, 1)
    del wrapped.__wrapped__
    for unclear in (wrapped, AsyncMock()):
        with pytest.raises(RouterError, match=r"so its parameters are unknown: .*functools\.wraps"):
            plan_call(unclear, {})


async def test_a_handler_may_want_nothing() -> None:
    async def handler() -> str:
        return "done"

    assert await plan_call(handler, {})(EVENT, CONTEXT) == "done"


async def test_a_parameter_after_a_default_still_finds_its_value() -> None:
    """A default that stays must not shift the arguments behind it."""

    async def handler(limit: int = 3, event: Any = None, context: Any = None) -> Any:
        return limit, event, context

    async def both(event: Any, context: Any) -> Any:
        return event, context

    assert await plan_call(handler, {})(EVENT, CONTEXT) == (3, EVENT, CONTEXT)
    assert await plan_call(both, {})(EVENT, CONTEXT) == (EVENT, CONTEXT)


def test_what_nothing_provides_is_named() -> None:
    """The message says which parameter of which handler, and the ways out."""
    with pytest.raises(RouterError, match=r"by_name wants 'store', which nothing provides: .*`values`"):
        plan_call(by_name, {})


async def test_annotations_that_cannot_be_read_do_not_matter() -> None:
    """Names imported for type checkers only; the parameter names decide then."""

    async def handler(event: "Missing") -> Any:  # type: ignore[name-defined]  # noqa: F821 - the point of the test
        return event

    assert await plan_call(handler, {})(EVENT, CONTEXT) is EVENT


async def one_annotation_cannot_be_read(
    status: "MessageStatus",
    pool: "Missing",  # type: ignore[name-defined]  # noqa: F821 - the point of the test
    where: "Context",
    broken: "not a type" = None,  # type: ignore[valid-type]  # noqa: F722 - the same
) -> "Missing":  # type: ignore[name-defined]  # noqa: F821 - the same
    return status, pool, where, broken


class WithMethod:
    async def method(self, status: "MessageStatus", pool: "Missing", where: "Context") -> Any:  # type: ignore[name-defined]  # noqa: F821 - the same
        return status, pool, where, None

    __call__ = method


@pytest.mark.parametrize(
    "handler",
    [
        *(one_annotation_cannot_be_read, WithMethod().method, WithMethod()),
        functools.partial(one_annotation_cannot_be_read, broken=None),
        functools.wraps(one_annotation_cannot_be_read)(lambda *args: one_annotation_cannot_be_read(*args)),
    ],
    ids=describe,
)
async def test_an_annotation_that_cannot_be_read_matters_to_its_own_parameter_only(handler: Any) -> None:
    """The others still say what they want, and for which events the handler is."""
    assert annotated_kinds(handler) == frozenset[Kind]({"message-status"})
    assert await plan_call(handler, {"pool": "the pool"})(EVENT, CONTEXT) == (
        EVENT,
        "the pool",
        CONTEXT,
        None,
    )
    with pytest.raises(RouterError, match=r"wants 'pool', which .*cannot be read .*`if TYPE_CHECKING`"):
        plan_call(handler, {})


def plain(event: Any) -> None: ...


@pytest.mark.parametrize("handler", [plain, functools.partial(plain, 1), lambda event: None, dict])
def test_plain_functions_are_refused_with_help(handler: Any) -> None:
    """Where they are registered, with what to write instead."""
    with pytest.raises(RouterError, match=r"is not async: write `async def`.*asyncio\.to_thread"):
        require_async(handler)


def test_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(RouterError, match="not str"):
        require_async("handler")  # type: ignore[arg-type]  # the point of the test


def test_names_show_no_bound_values() -> None:
    """A partial may hold a secret."""
    assert describe(functools.partial(by_name, store="secret")) == f"{__name__}.by_name"
    assert describe(Callable()) == f"{__name__}.Callable"


def test_context_shows_no_path() -> None:
    """Some put a secret there; rich prints `repr` of its own in tracebacks."""
    assert repr(CONTEXT) == "Context(received_at='1970-01-01T00:00:00+00:00', attempt=0)"
    assert CONTEXT.__rich_repr__() == [("received_at", "1970-01-01T00:00:00+00:00"), ("attempt", 0)]
    assert repr(Context()) == "Context(received_at=None, attempt=0)"


def test_context_is_in_utc() -> None:
    assert CONTEXT.received_at is not None
    assert CONTEXT.received_at.isoformat() == "1970-01-01T00:00:00+00:00"


@pytest.mark.parametrize("handler", [by_name, by_annotation, by_union, by_alias, functools.partial(five, 5)])
def test_who_gets_the_context_is_known_in_advance(handler: Any) -> None:
    """Also when it cannot be called yet, since a value is missing: others need no context of their own."""
    assert takes_context(handler)
    assert not takes_context(lambda event, store: None)
