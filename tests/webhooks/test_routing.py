"""`Router`: filters, order, isolation, composition, middleware, and the frozen state."""

from collections.abc import Awaitable, Callable
from typing import Any
from unittest.mock import AsyncMock

import anyio
import pytest

from nexmo_dispatch_webhooks import (
    Claims,
    Context,
    Event,
    FinalReport,
    HandlerError,
    MessageStatus,
    Router,
    RouterError,
    RouterFrozenError,
    Transaction,
    UnknownEvent,
    parse_event,
)
from tests.webhooks.payloads import encode, inbound_body, report_body, status_body

READ = parse_event(encode(status_body(status="read", to={"type": "whatsapp", "number": "1"})))
REJECTED = parse_event(encode(status_body(status="rejected", error={"code": 1300, "reason": "no user"})))
HELLO = parse_event(encode(inbound_body({"type": "text", "text": "Hello"})))
PLACE = parse_event(encode(inbound_body({"type": "location", "location": {"lat": "1", "long": "2"}})))
REPORT = parse_event(encode(report_body()))
ODD = parse_event(b'{"what": "ever"}')
EVENTS = {"READ": READ, "REJECTED": REJECTED, "HELLO": HELLO, "PLACE": PLACE, "REPORT": REPORT, "ODD": ODD}


def handler(log: list[str] | None = None, name: str = "handler") -> Callable[[Event], Awaitable[None]]:
    async def handle(event: Event) -> None:
        if log is not None:
            log.append(name)

    return handle


def reached(**filters: Any) -> list[str]:
    """The names of the events that a handler with these filters gets."""
    router = Router()
    router.add(handler(), **filters)
    return [name for name, event in EVENTS.items() if router.fetch(event)]


# --- filters ---


def test_a_handler_for_other_events_is_refused() -> None:
    """Where it is registered, since it could never work; one for several kinds may be registered for one."""
    router = Router()

    async def on_report(report: FinalReport) -> None: ...

    async def on_either(report: FinalReport | MessageStatus) -> None: ...

    with pytest.raises(
        RouterError, match=r"on_report is annotated for final-report, and registered for message-st"
    ):
        router.message_status()(on_report)
    router.message_status()(on_either)
    router.register()(on_report)
    router.final_report()(on_report)


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({}, list(EVENTS)),
        ({"kind": "message-status"}, ["READ", "REJECTED"]),
        ({"kind": ["inbound-message", "unknown"]}, ["HELLO", "PLACE", "ODD"]),
        ({"status": "read"}, ["READ"]),
        ({"status": " READ "}, ["READ"]),
        ({"status": {"rejected", "completed"}}, ["REJECTED", "REPORT"]),
        ({"status": "raed"}, []),
        ({"channel": "whatsapp"}, ["READ", "HELLO", "PLACE"]),
        ({"channel": ("sms", "mms")}, ["REJECTED", "REPORT"]),
        ({"channel": "viber_service"}, []),
        ({"channel": "Viber"}, []),
        ({"content": "text"}, ["HELLO"]),
        ({"content": ["Location", "sticker"]}, ["PLACE"]),
        ({"error_class": "permanent"}, ["REJECTED"]),
        ({"error_class": ["temporary", "unknown"]}, []),
        ({"sender": "447700900001"}, list(EVENTS)[:4]),
        ({"sender": "+447700900001"}, list(EVENTS)[:4]),
        ({"sender": "1"}, []),
        ({"when": lambda event: "a" in event.kind}, ["READ", "REJECTED", "HELLO", "PLACE", "REPORT"]),
        ({"when": [lambda event: event.kind != "unknown", lambda event: event is READ]}, ["READ"]),
        ({"status": "read", "channel": "sms"}, []),
    ],
)
def test_filters_are_conditions_that_all_hold(filters: dict[str, Any], names: list[str]) -> None:
    """One value or several each; words compare without case; statuses and contents are open lists."""
    assert reached(**filters) == names


@pytest.mark.parametrize("asked", ["viber", "viber_service", "Viber_Service_Msg"])
@pytest.mark.parametrize("said", ["viber_service_msg", "viber", "viber_service"])
def test_a_channel_may_have_the_name_of_its_builder(asked: str, said: str) -> None:
    """`viber` finds what `viber.text(…)` sent, also where the service itself says `viber` (contract 5.8)."""
    router = Router()
    router.add(handler(), channel=[asked])
    address = {"type": said, "number": "1"}
    flat = {"channel": said, "to": "1", "from": "2"}

    assert router.fetch(parse_event(encode({**status_body(), **flat})))
    assert router.fetch(parse_event(encode(status_body(to=address, **{"from": address}))))


def test_decorators_give_the_function_back() -> None:
    """A decorated handler stays a function that tests can call."""
    router = Router()
    function = handler()

    decorators = [
        *(router.message_status(), router.inbound_message(), router.final_report(), router.unknown()),
        *(router.register(), router.fallback),
    ]

    assert [decorate(function) is function for decorate in decorators] == [True] * 6


@pytest.mark.parametrize(
    ("decorate", "names"),
    [
        (
            lambda r: r.message_status(status="rejected", error_class="permanent", sender="447700900001"),
            ["REJECTED"],
        ),
        (lambda r: r.inbound_message(content="text", channel="whatsapp"), ["HELLO"]),
        (lambda r: r.final_report(status="completed", channel="sms"), ["REPORT"]),
        (lambda r: r.unknown(), ["ODD"]),
        (lambda r: r.register(["unknown", "final-report"]), ["REPORT", "ODD"]),
    ],
)
def test_each_kind_has_a_decorator(decorate: Any, names: list[str]) -> None:
    router = Router()

    decorate(router)(handler())

    assert [name for name, event in EVENTS.items() if router.fetch(event)] == names


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        (
            {"channel": "whatsap"},
            "unknown channel 'whatsap'; there are messenger, mms, sms, viber_service_msg, whatsapp",
        ),
        ({"status": []}, "status is an empty collection"),
        ({"when": [1]}, "when takes a function"),
        ({"when": handler()}, "is async: a filter must be a plain function"),
    ],
)
def test_filters_that_can_never_match_are_refused(filters: dict[str, Any], message: str) -> None:
    """Channels are known to all; statuses are not, so a new one is no mistake (contract 5.3)."""
    with pytest.raises(RouterError, match=message):
        Router().add(handler(), **filters)


def test_plain_handlers_are_refused() -> None:
    def handle(event: Event) -> None: ...

    router = Router()

    for register in (
        router.add,
        router.fallback,
        router.middleware,
        router.outer_middleware,
        router.unknown(),
    ):
        with pytest.raises(RouterError, match="write `async def`"):
            register(handle)  # type: ignore[arg-type, type-var]  # the point of the test


# --- running ---


async def test_handlers_run_in_the_order_of_registration() -> None:
    """Also across included routers, each at its place."""
    log: list[str] = []
    inner, router = Router(name="inner"), Router()
    router.add(handler(log, "first"))
    router.include_router(inner)
    router.add(handler(log, "third"))
    inner.add(handler(log, "second"))

    result = await router.dispatch(READ)

    assert log == ["first", "second", "third"]
    assert len(result.handled) == 3
    assert [route.name for route in router.routes()] == list(result.handled)


async def test_a_failing_handler_does_not_hide_the_rest() -> None:
    """Failures are collected by name, and raised only on request."""
    log: list[str] = []
    router = Router()

    @router.message_status(name="bad")
    async def bad(event: MessageStatus) -> None:
        raise ValueError("447700900000 wrote this")

    router.add(handler(log, "good"), name="good")
    router.add(handler(log, "never"), when=lambda event: event.nothing, name="bad filter")

    result = await router.dispatch(READ)

    assert (log, result.handled, result.unhandled) == (["good"], ("good",), False)
    assert [(failure.handler, type(failure.error)) for failure in result.failures] == [
        *(("bad", ValueError), ("bad filter", AttributeError)),
    ]
    assert "447700900000" not in repr(result)
    with pytest.raises(HandlerError, match=r"bad \(ValueError\), bad filter \(AttributeError\)"):
        result.raise_for_failures()


async def test_an_unhandled_event_is_visible() -> None:
    router = Router()
    router.add(handler(), status="delivered")

    result = await router.dispatch(READ)

    assert result.unhandled
    result.raise_for_failures()


async def test_fetch_shows_what_dispatch_would_run() -> None:
    """Routing is testable as data; a filter that raises is seen at once."""
    router = Router()
    one, two = handler(), handler()
    router.add(one, status="read")
    router.add(two, channel="sms")

    assert router.fetch(READ) == (one,)

    router.add(handler(), when=lambda event: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        router.fetch(READ)


async def test_a_fallback_takes_events_without_another_handler() -> None:
    """Per router: the fallback of an included one belongs to that one."""
    log: list[str] = []
    router = Router()
    router.add(handler(log, "read"), status="read")
    router.fallback(handler(log, "fallback"))

    await router.dispatch(READ)
    await router.dispatch(ODD)

    assert log == ["read", "fallback"]


async def test_cancellation_comes_through() -> None:
    """Structured concurrency: a cancelled dispatch runs no further handler."""
    log: list[str] = []
    router = Router()

    @router.register()
    async def slow(event: Event) -> None:
        log.append("slow")
        await anyio.sleep_forever()

    router.add(handler(log, "never"))
    with anyio.move_on_after(0.01) as scope:
        await router.dispatch(READ)

    assert scope.cancelled_caught
    assert log == ["slow"]


async def test_values_reach_handlers_by_name() -> None:
    """Those of the router itself win over those around it; `freeze` adds the application's."""
    got: list[Any] = []
    inner = Router(name="inner", values={"db": "inner db"})

    @inner.register()
    async def handle(event: Event, context: Context, db: str, cache: str, clock: str) -> None:
        got.append((event, context.path, db, cache, clock))

    router = Router(inner, values={"db": "outer db", "cache": "cache"})
    with pytest.raises(RouterError, match="wants 'clock'"):
        await router.dispatch(READ)
    router.freeze({"clock": "clock", "cache": "outermost"})

    await router.dispatch(READ, Context(path="p"))

    assert got == [(READ, "p", "inner db", "cache", "clock")]


def test_no_two_handlers_have_one_key() -> None:
    """A store remembers by it which handlers are done; also when a name looks like one that is made up."""
    inner, router = Router(), Router()
    for name in ("n", "n", "n (2)", "m (2)", "m"):
        router.add(handler(), name=name)
    inner.add(handler(), name="n")
    inner.add(handler(), name="m")
    router.include_router(inner)
    router.freeze()

    keys = [selected.key for selected in router.select(READ, Context())]

    assert keys == ["n", "n (2)", "n (2) (2)", "m (2)", "m", "n (3)", "m (3)"]


# --- composition ---


def test_composition_refuses_what_cannot_work() -> None:
    """Itself, a cycle, a second place, something else; each with its own message."""
    a, b, c, d = (Router(name=name) for name in "abcd")
    a.include_router(b)
    b.include_router(c)

    with pytest.raises(RouterError, match="a cannot include itself"):
        a.include_router(a)
    with pytest.raises(RouterError, match="c is inside of a: including that would be a cycle"):
        c.include_router(a)
    with pytest.raises(RouterError, match="c is included in b already"):
        d.include_router(c)
    with pytest.raises(RouterError, match="takes a Router, not str"):
        d.include_router("a")  # type: ignore[arg-type]  # the point of the test


def test_a_second_place_is_told_by_what_the_routers_hold() -> None:
    """Two routers without a name are told apart by their handlers; the message says what to do."""
    child, first, second = Router(), Router(), Router()

    @child.message_status()
    async def on_status(event: Event) -> None: ...

    first.include_router(child)

    with pytest.raises(RouterError) as refused:
        second.include_router(child)
    assert str(refused.value) == (
        f"the router of {__name__}.{on_status.__qualname__} is included in a router without a name already, "
        "and a router has one place: make a new Router for each application, in a function such as "
        "make_router()"
    )


async def test_prefix_takes_only_what_arrives_below() -> None:
    """Whole segments of the path count."""
    log: list[str] = []
    team, router = Router(), Router()
    team.add(handler(log, "team"))
    router.include_router(team, prefix="team-a/")

    for path in ("team-a", "/team-a/status", "team-ab", "", "x/team-a"):
        await router.dispatch(READ, Context(path=path))

    assert log == ["team", "team"]


async def test_prefixes_add_up() -> None:
    """A team splits the paths below its own without knowing where that is."""
    log: list[str] = []
    inner, middle, plain, router = (Router(name=name) for name in ("inner", "middle", "plain", "router"))
    router.include_router(plain)
    plain.include_router(middle, prefix="/a")
    middle.include_router(inner, prefix="/b/c")
    inner.fallback(handler(log, "inner"))

    for path in ("a/b/c", "/a/b/c/status/", "b/c", "a", "a/b", "a/b/cd", "a/a/b/c"):
        await router.dispatch(READ, Context(path=path))

    assert log == ["inner", "inner"]


async def test_an_included_router_takes_what_one_account_signed() -> None:
    """What account a1 signs reaches no handler of b2, not even its fallback; nor does what is not signed."""
    log: list[str] = []
    inner, router = Router(), Router()
    inner.fallback(handler(log, "inner"))
    router.include_router(inner, prefix="/x", account="b2")

    for api_key, path in (("a1", "x"), ("b2", "x"), ("b2", "y")):
        await router.dispatch(READ, Context(path, claims=Claims("Vonage", 0.0, "j", api_key)))
    await router.dispatch(READ, Context("x"))

    assert log == ["inner"]
    assert router.accounts() == {"b2"}
    assert Router(Router(router)).accounts() == {"b2"}


@pytest.mark.parametrize("account", ["", 7, b"b2"])
def test_an_account_is_a_text(account: Any) -> None:
    with pytest.raises(RouterError, match="account must be the api_key of a signature, as text"):
        Router().include_router(Router(), account=account)


def test_registration_ends_at_the_start() -> None:
    """Everywhere in the tree: a handler added later would miss events."""
    inner = Router(name="inner")
    router = Router(inner)
    router.freeze()

    for target in (router, inner):
        late: list[Any] = [target.add, target.fallback, target.middleware, target.outer_middleware]
        for register in late:
            with pytest.raises(RouterFrozenError):
                register(handler())
        with pytest.raises(RouterFrozenError):
            target.include_router(Router())
    assert repr(router) == "<Router 'router': 0 handlers, frozen>"
    assert repr(Router()) == "<Router 'router': 0 handlers, open>"


# --- middleware ---


async def test_middleware_runs_around_each_handler_outermost_first() -> None:
    """It may change the event, or skip the handler; it covers the included routers too."""
    log: list[str] = []

    def middleware(name: str) -> Any:
        async def around(event: Event, context: Context, call_next: Callable[[Event], Awaitable[Any]]) -> Any:
            log.append(f"{name} before")
            await call_next(event)
            log.append(f"{name} after")

        return around

    inner = Router(name="inner")
    inner.middleware(middleware("inner"))
    inner.add(handler(log, "handler"))
    router = Router(inner)
    router.middleware(middleware("outer"))

    await router.dispatch(READ)

    assert log == ["outer before", "inner before", "handler", "inner after", "outer after"]


async def test_middleware_that_raises_is_a_failure_of_its_handler() -> None:
    router = Router()
    router.add(handler(), name="behind")

    @router.middleware
    async def closed(event: Event, context: Context, call_next: Any) -> None:
        raise PermissionError

    result = await router.dispatch(READ)

    assert [failure.handler for failure in result.failures] == ["behind"]


async def test_a_handler_that_fails_leaves_no_statement_whatever_its_middleware_does() -> None:
    """One that swallows, tries again, or gives up waiting: only what succeeded is committed."""
    router = Router()
    attempts: list[str] = []

    @router.middleware
    async def lenient(event: Event, context: Context, call_next: Any) -> None:
        context.transaction.execute("before")
        for _ in range(2):
            try:
                with anyio.move_on_after(0.01):
                    await call_next(event)
                    return
            except ValueError:
                attempts.append("failed")

    @router.register()
    async def flaky(event: Event, context: Context) -> None:
        context.transaction.execute(f"attempt {len(attempts)}")
        if len(attempts) < 1:
            raise ValueError

    @router.register()
    async def slow(event: Event, context: Context) -> None:
        context.transaction.execute("slow")
        await anyio.sleep_forever()

    context = Context(collected=Transaction())
    result = await router.dispatch(READ, context)

    assert result.failures == ()
    assert [sql for sql, _ in context.transaction.statements] == ["before", "attempt 1", "before"]


def test_outer_middleware_belongs_to_the_outermost_router() -> None:
    """It runs before anything is known, so a part of the tree cannot have its own."""
    inner, router = Router(name="inner"), Router()
    inner.outer_middleware(AsyncMock())
    with pytest.raises(RouterError, match="inner has outer middleware"):
        router.include_router(inner)

    child = Router(name="child")
    router.include_router(child)
    with pytest.raises(RouterError, match="child is included"):
        child.outer_middleware(AsyncMock())


def test_fetch_needs_no_values() -> None:
    """Before the start values are missing; which handlers an event reaches does not depend on them."""
    inner, router = Router(), Router()

    @inner.register()
    async def handle(event: Event, provided_at_the_start: str) -> None: ...

    router.include_router(inner)

    assert router.fetch(UnknownEvent()) == (handle,)
