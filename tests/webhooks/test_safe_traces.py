"""Traces: where an exception was raised, without a word of what a customer wrote."""

import asyncio
from pathlib import Path

import pytest

from nexmo_dispatch_webhooks import ConfigurationError, Context, InboxError
from nexmo_dispatch_webhooks.inbox import PostgresInbox
from nexmo_dispatch_webhooks.safe_traces import own_words, place, trace

NUMBER = "447700900555"
HERE = Path(__file__).name


def deep(depth: int) -> None:
    """Fail so many calls further down, with a customer's number in the arguments and in the locals."""
    local = NUMBER
    if depth:
        deep(depth - 1)
    raise LookupError(local)


def caught(depth: int = 0) -> Exception:
    try:
        deep(depth)
    except LookupError as error:
        return error
    raise AssertionError


def hide_the_context() -> None:
    try:
        deep(0)
    except LookupError:
        raise KeyError from None


def test_a_trace_has_places_and_no_values() -> None:
    """File, line and function, outermost first; neither message nor variables."""
    error = caught(1)

    lines = trace(error)

    assert [line.rpartition(" in ")[2] for line in lines] == ["caught", "deep", "deep"]
    assert all(f"{HERE}:" in line for line in lines)
    assert lines[-1].startswith(place(error))
    assert NUMBER not in str(lines)


def test_a_trace_is_bounded() -> None:
    """It is stored with an event: deep recursions and long chains leave their ends."""
    error: Exception = caught(200)
    for _ in range(10):
        try:
            raise ValueError from error
        except ValueError as outer:
            error = outer

    lines = trace(error)

    assert sum(map(len, lines)) <= 4200
    assert len(lines) < 45
    assert len(trace(caught(200))) == 13
    assert trace(caught(200))[0] == "(190 more)"
    assert [line for line in lines if line.startswith("caused by")] == ["caused by ValueError"] * 2


def test_causes_and_groups_are_named() -> None:
    """By their classes; a suppressed context is none."""
    with pytest.raises(ExceptionGroup) as group:
        raise ExceptionGroup(NUMBER, [ValueError(NUMBER), LookupError()])
    with pytest.raises(KeyError) as chained:
        raise KeyError(NUMBER) from caught()
    with pytest.raises(KeyError) as alone:
        hide_the_context()

    assert trace(group.value)[0] == "a group of 2: ValueError, LookupError"
    assert "caused by LookupError" in trace(chained.value)
    assert not [line for line in trace(alone.value) if line.startswith("caused by")]
    assert NUMBER not in str((trace(group.value), trace(chained.value)))


def test_what_was_never_raised_has_no_place() -> None:
    """As the TimeoutError of a handler that was cancelled."""
    assert (place(TimeoutError()), trace(TimeoutError())) == ("", ())


def test_only_words_of_ours_are_ours() -> None:
    """A handler may raise our classes with words of its own."""
    with pytest.raises(ConfigurationError) as ours:
        _ = Context().transaction
    with pytest.raises(ConfigurationError) as theirs:
        raise ConfigurationError(NUMBER)

    assert own_words(ours.value).startswith("context.transaction needs an SQLite inbox")
    assert own_words(theirs.value) == ""
    assert own_words(asyncio.CancelledError(NUMBER)) == ""


async def test_words_about_a_store_on_a_server_are_ours() -> None:
    """The shared layer raises the error of the receiver there: an operator read its class and no cause."""
    inbox = PostgresInbox("postgresql://127.0.0.1:1/none", migrate=False)

    with pytest.raises(InboxError) as caught:
        await inbox.summary()

    assert "cannot be reached" in own_words(caught.value)
