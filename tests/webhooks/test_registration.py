"""What a `Router` refuses where it is registered, so that no callback is the first to find out."""

import functools
import operator
from collections.abc import Callable
from typing import Any
from unittest.mock import AsyncMock

import pytest

from nexmo_dispatch_webhooks import Answer, Context, Event, RawRequest, Router, RouterError

DECORATORS = ["register", "message_status", "inbound_message", "final_report", "unknown"]


async def handler(event: Event) -> None: ...


# --- parentheses ---


@pytest.mark.parametrize("name", DECORATORS)
def test_decorators_with_filters_want_their_parentheses(name: str) -> None:
    """Without them the handler would be taken for a filter, and never run."""
    router = Router()

    with pytest.raises(RouterError, match=rf"{name} takes filters, .*write `@router\.{name}\(\)`"):
        getattr(router, name)(handler)

    assert list(router.routes()) == []
    getattr(router, name)()(handler)
    assert [route.handler for route in router.routes()] == [handler]


def test_other_arguments_without_a_name_are_refused_by_python() -> None:
    """Only what can be called is a forgotten pair of parentheses."""
    with pytest.raises(TypeError, match="positional argument"):
        Router().message_status("read")  # type: ignore[call-arg]  # status="read"


# --- filters ---


@pytest.mark.parametrize("name", ["add", "register", "message_status", "final_report"])
def test_filters_that_do_not_exist_are_refused(name: str) -> None:
    """A misspelt one must not widen what the handler gets."""
    arguments = [handler] if name == "add" else []

    with pytest.raises(TypeError, match="statsu"):
        getattr(Router(), name)(*arguments, statsu="read")(handler)


@pytest.mark.parametrize("name", ["status", "channel", "content", "error_class", "sender", "kind"])
@pytest.mark.parametrize("value", [3, [3], 447700900000, b"read", None])
def test_filters_that_are_no_text_are_named(name: str, value: Any) -> None:
    """The message says which filter, and shows no value: a sender is the number of a person."""
    value = [value] if value is None else value

    with pytest.raises(RouterError, match=rf'^{name} takes text, .*not \w+: write {name}="…"$') as caught:
        Router().add(handler, **{name: value})

    assert "4477" not in str(caught.value)


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"error_class": "perm"}, "unknown error_class 'perm'; there are configuration, permanent, "),
        ({"error_class": ["permanent", "Fatal", "bad"]}, "unknown error_class 'bad', 'fatal'; there are"),
        ({"kind": ["unknown", "status"]}, "unknown kind 'status'; there are final-report, "),
        ({"status": " "}, r'status takes text, one or several, not an empty one: write status="…"'),
    ],
)
def test_the_word_that_is_wrong_is_quoted(filters: dict[str, Any], message: str) -> None:
    with pytest.raises(RouterError, match=message):
        Router().add(handler, **filters)


# --- conditions ---


class Wants:
    """A condition that is an object."""

    def __call__(self, event: Event) -> bool:
        return True


def none() -> bool:
    return True


def two(event: Event, context: Context) -> bool:
    return True


def renamed(event: Event, *, strict: bool = False) -> bool:
    return True


@pytest.mark.parametrize("when", [none, two, [renamed, none], lambda *, event: True, Wants])
def test_conditions_that_cannot_be_called_are_refused(when: Any) -> None:
    """Each would fail with every event, and every callback get 500."""
    with pytest.raises(RouterError, match=r"is called with one argument, the event.*write `lambda event: …`"):
        Router().add(handler, when=when)


@pytest.mark.parametrize(
    "when",
    [
        *(renamed, Wants(), lambda *_: True, functools.partial(two, context=Context())),
        *(bool, operator.attrgetter("status"), operator.methodcaller("strip")),
    ],
)
def test_conditions_that_can_be_called_or_do_not_tell_are_taken(when: Any) -> None:
    """What is made in C need not have a signature."""
    assert Router().add(handler, when=when).when == (when,)


# --- middleware ---


async def one(event: Any) -> None: ...


async def inner(event: Event, context: Context, call_next: Any) -> None: ...


async def outer(request: RawRequest, call_next: Any) -> Answer:
    return Answer()


async def with_more(first: Any, second: Any, third: Any = None, *, more: int = 1) -> None: ...


class Middlewares:
    async def inner(self, event: Event, context: Context, call_next: Any) -> None: ...

    async def __call__(self, event: Event, context: Context, call_next: Any) -> None: ...


def wrapping(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that gives the function inside an argument fewer than it gets."""

    @functools.wraps(function)
    async def wrapper(event: Any, context: Any, call_next: Any) -> Any:
        return await function(event)

    return wrapper


@pytest.mark.parametrize("function", [one, outer, Middlewares.inner])
def test_middleware_that_cannot_be_called_is_refused(function: Any) -> None:
    """The message says what it is called with."""
    with pytest.raises(
        RouterError,
        match=r"called with event, context, call_next.*write `async def …\(event, context, call_next\)`",
    ):
        Router().middleware(function)


@pytest.mark.parametrize("function", [one, inner, Middlewares(), functools.partial(with_more, 1, 2, 3)])
def test_outer_middleware_that_cannot_be_called_is_refused(function: Any) -> None:
    with pytest.raises(RouterError, match=r"called with request, call_next.*\(request, call_next\)`"):
        Router().outer_middleware(function)


@pytest.mark.parametrize(
    "function",
    [inner, with_more, Middlewares().inner, Middlewares(), AsyncMock(), AsyncMock(spec=inner), wrapping(one)],
)
def test_middleware_that_can_be_called_is_taken(function: Any) -> None:
    """By position, whatever its parameters are called; what is inside of a decorator does not matter."""
    assert Router().middleware(function) is function


def test_outer_middleware_that_can_be_called_is_taken() -> None:
    functions: list[Any] = [outer, with_more, AsyncMock()]
    for function in functions:
        assert Router().outer_middleware(function) is function
