"""What type checkers make of the public API. Read by mypy and pyright in `make types`, never run.

A comment `type: ignore[…]` here is an expectation: both checkers complain if there is nothing to ignore.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, Literal, assert_never, assert_type

from nexmo_dispatch_async import (
    Application,
    ApplicationPage,
    Auth,
    BasicAuth,
    BearerToken,
    CareWindow,
    Dispatch,
    DispatchClient,
    DispatchError,
    Finding,
    InvalidWorkflowError,
    KpnOAuth,
    NotSent,
    NotSentError,
    OutcomeUnknownError,
    RateLimitError,
    Refused,
    RetryPolicy,
    Rules,
    SendOutcome,
    Sent,
    Step,
    Timeout,
    UnacceptableError,
    Unknown,
    VonageJWT,
    Workflow,
    messenger,
    mms,
    sms,
    viber,
    whatsapp,
)
from nexmo_dispatch_async.fan_out import FanOut
from nexmo_dispatch_async.pytest_plugin import MakeWebhookClient, ServeRouter
from nexmo_dispatch_async.tracking import Tracker, WorkflowResult
from nexmo_dispatch_webhooks import (
    Answer,
    ButtonContent,
    CallNext,
    Context,
    DispatchResult,
    Event,
    FinalReport,
    InboundMessage,
    MessageStatus,
    Middleware,
    OuterCallNext,
    OuterMiddleware,
    RawRequest,
    Receiver,
    Router,
    SqliteInbox,
    TextContent,
    UnknownEvent,
    Usage,
    parse_event,
)
from nexmo_dispatch_webhooks.testing import WebhookClient

# --- building workflows ---------------------------------------------------------------------------


def steps_of_every_channel() -> None:
    assert_type(sms.text("Hi", from_="31647356950", to="31617185666"), Step)
    assert_type(mms.image("https://example.com/a.png", from_="11111", to="15555550100"), Step)
    assert_type(viber.text("Hi", from_="111", to="31617185666", ttl=600), Step)
    assert_type(messenger.text("Hi", from_="111", to="222"), Step)
    assert_type(whatsapp.text("Hi", from_="31", to="32", client_ref=None), Step)


def conditions() -> None:
    step = whatsapp.text("Hi", from_="31", to="32")

    assert_type(step.until("read", within=600), Step)
    assert_type(step.until("delivered", within=timedelta(minutes=10)), Step)
    step.until("opened", within=600)  # type: ignore[arg-type]  # only read and delivered can be waited for
    step.until("read", 600)  # type: ignore[call-arg]  # 600 of what? within=


def builders_take_addresses_by_name() -> None:
    sms.text("Hi", "31647356950", "31617185666")  # type: ignore[call-arg]  # who is the sender?
    sms.text("Hi", to="31617185666")  # type: ignore[call-arg]  # the sender is missing
    sms.text("Hi", from_="31647356950", to=31617185666)  # type: ignore[arg-type]  # numbers are texts
    sms.text("Hi", from_="1", to="2", ttl=3)  # type: ignore[call-arg]  # Viber's, not of an SMS


def workflows(step: Step, data: bytes) -> None:
    workflow = Workflow.failover(step, step)

    assert_type(workflow, Workflow)
    assert_type(workflow.steps, tuple[Step, ...])
    assert_type(Workflow.from_json(data), Workflow)
    assert_type(Workflow.from_json("{}"), Workflow)
    assert_type(workflow.to_json(), bytes)
    assert_type(workflow.lint(), list[Finding])
    assert_type(workflow.lint(Rules(off=["single-step"])), list[Finding])
    assert_type(workflow.lint(Rules(window=CareWindow())), list[Finding])
    assert_type(workflow.worst_case_time(), timedelta)
    Workflow.failover([step, step])  # type: ignore[arg-type]  # steps one by one
    workflow.steps = ()  # type: ignore[misc]  # frozen


# --- the client -----------------------------------------------------------------------------------


def settings() -> None:
    assert_type(DispatchClient(auth=KpnOAuth("id", "secret")), DispatchClient)
    assert_type(DispatchClient.kpn("id", "secret", "application"), DispatchClient)
    assert_type(DispatchClient.vonage(VonageJWT("application", b"key")), DispatchClient)
    assert_type(DispatchClient.from_env(), DispatchClient)
    assert_type(DispatchClient.from_env(application_id=None), DispatchClient)
    DispatchClient(auth=BasicAuth("key", "secret"), retry=RetryPolicy(attempts=1), timeout=Timeout(total=5))
    DispatchClient.kpn("id", "secret", token_url="https://h/token", limit=5)
    DispatchClient.from_env(auth=BasicAuth("key", "secret"), application_id="application", proxy="http://p")
    DispatchClient.kpn("id", "secret", limits=5)  # type: ignore[call-arg]  # limit=
    DispatchClient.vonage(BasicAuth("key", "secret"), application_id="a")  # type: ignore[call-arg]  # of the token
    DispatchClient()  # type: ignore[call-arg]  # credentials are required
    DispatchClient("id", "secret")  # type: ignore[call-arg,arg-type]  # that is DispatchClient.kpn


def every_auth_is_an_auth() -> Sequence[Auth]:
    return KpnOAuth("id", "secret"), VonageJWT("id", "key"), BasicAuth("key", "secret"), BearerToken("token")


class NotAnAuth:
    def authorization(self, now: float) -> str:
        return f"Bearer {now}"


DispatchClient(auth=NotAnAuth())  # type: ignore[arg-type]  # three methods are missing


class MyClient(DispatchClient):
    """A subclass stays what it is."""


async def sending(client: DispatchClient, workflow: Workflow) -> None:
    assert_type(await client.send(workflow), Dispatch)
    assert_type((await client.send(workflow)).dispatch_uuid, str)
    assert_type(await client.send(workflow, timeout=Timeout(total=3)), Dispatch)
    assert_type(MyClient.from_env(), MyClient)
    async with MyClient.from_env() as mine:
        assert_type(mine, MyClient)
    await client.send(workflow.to_json())  # type: ignore[arg-type]  # Workflow.from_json reads bytes
    await client.send(workflow, attempts=3)  # type: ignore[call-arg]  # retry=RetryPolicy(attempts=3)


async def many(client: DispatchClient, workflows: list[Workflow], stream: AsyncIterator[Workflow]) -> None:
    assert_type(client.send_many(workflows, limit=8), FanOut[Workflow, SendOutcome])
    assert_type(client.send_many(stream), FanOut[Workflow, SendOutcome])
    steps = [sms.text("Hi", from_="31647356950", to="31617185666")]
    assert_type(client.send_many(steps), FanOut[Step, SendOutcome])
    assert_type(await client.send(steps[0]), Dispatch)
    async with client.send_many(workflows) as outcomes:
        async for outcome in outcomes:
            assert_type(outcome.workflow, Workflow)
            by_class(outcome)
            by_name(outcome)
        assert_type(outcomes.interrupted, list[Workflow])
    by_row = dict(enumerate(workflows))
    async for keyed in client.send_many(by_row.items()):
        assert_type(keyed, SendOutcome[int])
        assert_type(keyed.key, int)
        if isinstance(keyed, Refused):
            assert_type(keyed, Refused[int])


def by_class(outcome: SendOutcome) -> None:
    if isinstance(outcome, Sent):
        assert_type(outcome.dispatch, Dispatch)
    elif isinstance(outcome, NotSent):
        assert_type(outcome.error, NotSentError)
    elif isinstance(outcome, Refused):
        assert_type(outcome.error, UnacceptableError)
        assert_type(outcome.error.findings, tuple[Finding, ...])
        assert_type(outcome.error.status, int | None)
        assert_type(outcome.error.code, str)
    else:
        assert_type(outcome, Unknown)
        assert_type(outcome.error, OutcomeUnknownError)


def by_name(outcome: SendOutcome) -> None:
    if outcome.outcome == "sent":
        assert_type(outcome, Sent)
    elif outcome.outcome == "not_sent":
        assert_type(outcome, NotSent)
    elif outcome.outcome == "refused":
        assert_type(outcome, Refused)
    else:
        assert_type(outcome.outcome, Literal["unknown"])
        assert_type(outcome, Unknown)


def by_match(outcome: SendOutcome) -> str:
    match outcome:
        case Sent(dispatch=dispatch):
            return dispatch.dispatch_uuid
        case NotSent(error=error):
            return str(error.retry_after)
        case Refused():
            return "refused"
        case Unknown():
            return "unknown"
        case _ as never:
            assert_never(never)


async def applications(client: DispatchClient) -> None:
    assert_type(await client.applications.get("id"), Application)
    assert_type(await client.applications.list(page_size=10), ApplicationPage)
    assert_type((await client.applications.list()).applications, tuple[Application, ...])
    async for application in client.applications.iterate():
        assert_type(application, Application)
    await client.applications.list(10)  # type: ignore[call-arg]  # page or size?


def errors(error: DispatchError) -> None:
    if isinstance(error, RateLimitError):
        assert_type(error.retry_after, float | None)
        assert_type(error.status, int | None)
        assert_type(error.attempts, int)
    elif isinstance(error, InvalidWorkflowError):
        assert_type(error.findings, tuple[Finding, ...])


async def waiting(dispatch: Dispatch) -> None:
    assert_type(await dispatch.wait(timeout=60), WorkflowResult)
    assert_type(await dispatch.wait("read", timeout=timedelta(minutes=1)), WorkflowResult)
    assert_type(await dispatch.result(), WorkflowResult)
    await dispatch.wait()  # type: ignore[call-arg]  # for ever? timeout=None
    await dispatch.wait("opened", timeout=1)  # type: ignore[arg-type]  # delivered or read


# --- the receiver ---------------------------------------------------------------------------------


def narrowing(body: bytes) -> None:
    event = parse_event(body)

    assert_type(event, MessageStatus | InboundMessage | FinalReport | UnknownEvent)
    if isinstance(event, MessageStatus):
        assert_type(event.status, str)
        assert_type(event.usage, Usage | None)
    elif isinstance(event, InboundMessage):
        assert_type(event.text, str | None)
        if isinstance(event.content, TextContent | ButtonContent):
            assert_type(event.content, TextContent | ButtonContent)
    elif isinstance(event, FinalReport):
        assert_type(event.dispatch_uuid, str | None)
    else:
        assert_type(event, UnknownEvent)


def money(usage: Usage) -> None:
    assert_type(usage.price, Decimal | None)


router = Router()


@router.message_status(status="read", channel=["whatsapp", "viber"])
async def on_read(event: MessageStatus) -> int:
    return len(event.message_uuid)


@router.inbound_message(content="text")
async def on_text(event: InboundMessage, context: Context) -> None: ...


@router.final_report()
async def on_end(event: FinalReport, prices: dict[str, Decimal]) -> None: ...


@router.fallback
async def on_anything(event: Event) -> None: ...


async def handlers_stay_what_they_are(status: MessageStatus, report: FinalReport) -> None:
    # A decorated handler can be called as it was written, in a test for instance.
    assert_type(await on_read(status), int)
    await on_end(report, {})
    await on_end(report)  # type: ignore[call-arg]  # its arguments are known
    await on_read(report)  # type: ignore[arg-type]  # and so are their types


@router.message_status(statuses="read")  # type: ignore[call-arg]  # the filter is called status
async def misspelt(event: MessageStatus) -> None: ...


@router.message_status  # type: ignore[call-arg, arg-type]  # its parentheses are missing
async def bare(event: MessageStatus) -> None: ...


@router.register  # type: ignore[arg-type]  # the same
async def bare_too(event: Event) -> None: ...


def filters() -> None:
    router.message_status(status="a new one", channel="rcs", sender={"447700900000"})  # open lists
    router.message_status(error_class="permanent", when=lambda event: event.error)
    router.message_status(error_class=["permanent", "request"], when=[lambda event: event.is_final])
    router.inbound_message(when=lambda event: event.text == "STOP")
    router.final_report(when=lambda event: event.messages)
    router.unknown(when=lambda event: event.raw)
    router.register(["unknown", "final-report"], when=lambda event: event.raw)
    router.message_status(error_class="perm")  # type: ignore[arg-type]  # permanent
    router.register(error_class=["perm"])  # type: ignore[list-item]  # the same
    router.register("status")  # type: ignore[arg-type]  # message-status
    router.register(statuses="read")  # type: ignore[call-arg]  # status
    router.message_status(sender=447700900000)  # type: ignore[arg-type]  # numbers are texts
    router.message_status(when=lambda event: event.message_uid)  # type: ignore[attr-defined]  # message_uuid
    router.inbound_message(when=[lambda event: event.texts])  # type: ignore[attr-defined]  # text
    router.final_report(when=lambda event: event.channel)  # type: ignore[attr-defined]  # of its messages
    router.final_report(when=lambda: True)  # type: ignore[misc, arg-type]  # of the event


@router.middleware
async def around(event: Event, context: Context, call_next: CallNext) -> object:
    assert_type(context.attempt, int)
    return await call_next(event)


@router.outer_middleware
async def closed(request: RawRequest, call_next: OuterCallNext) -> Answer:
    assert_type(await call_next(request), Answer)
    return Answer(503) if request.path == "closed" else await call_next(request)


@router.middleware  # type: ignore[type-var]  # the context is missing
async def too_few(event: Event, call_next: CallNext) -> None: ...


@router.middleware  # type: ignore[type-var]  # it runs around handlers of all events
async def of_statuses(event: MessageStatus, context: Context, call_next: CallNext) -> None: ...


@router.outer_middleware  # type: ignore[type-var]  # it returns an answer
async def forgetful(request: RawRequest, call_next: OuterCallNext) -> None:
    await call_next(request)


def timed(inner: Middleware, outer: OuterMiddleware) -> tuple[Middleware, OuterMiddleware]:
    """Middlewares can be passed around, and stay what they are when they are registered."""
    assert_type(router.middleware(inner), Middleware)
    return router.middleware(inner), router.outer_middleware(outer)


async def routing(event: Event, tracker: Tracker) -> None:
    result = await router.dispatch(event)

    assert_type(result, DispatchResult)
    assert_type(result.unhandled, bool)
    router.include_router(Router(values={"prices": Any}), prefix="/team-a")
    tracker.attach(router)


async def an_inbox_is_typed_when_it_is_made(receiver: Receiver) -> None:
    inbox = SqliteInbox("inbox.db")
    Receiver(router, verification=None, inbox=inbox)

    assert_type(await inbox.retry("all"), int)
    assert_type(inbox.health().lag, float)
    await receiver.inbox.idle()  # type: ignore[union-attr]  # a receiver needs less of one, or none
    assert_type(router.bind({"prices": {}}), Router)


def the_answer_to_a_wrong_signature(router: Router) -> None:
    Receiver(router, secrets={"k": "secret"}, wrong_signature=503)
    Receiver(router, secrets={"k": "secret"}, wrong_signature=500)  # type: ignore[arg-type]


async def fixtures_of_pytest(serve: ServeRouter, make: MakeWebhookClient) -> None:
    """What `dispatch_receiver` and `webhook_client` are annotated with."""
    assert_type(await serve(Router(), path="/hooks"), str)
    assert_type(make(Router()), WebhookClient)
