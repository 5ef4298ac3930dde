"""`DispatchClient`: the settings, `send()` and its variants, and the application calls.

It holds no connection and repeats nothing itself: `transport` does. What a request says and what an answer
means is for `sansio` to decide, without a socket.
"""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, overload

from msgspec import UNSET, UnsetType

from nexmo_dispatch_async.applications import Applications
from nexmo_dispatch_async.arguments import check_workflow, check_workflows
from nexmo_dispatch_async.auth import KPN_TOKEN_URL, Auth, KpnOAuth, check_url
from nexmo_dispatch_async.client_settings import KPN_BASE_URL, ClientOptions, ClientSettings, takes_settings
from nexmo_dispatch_async.environment import Environment
from nexmo_dispatch_async.event_loop import Unpicklable
from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.fan_out.brake import Brake
from nexmo_dispatch_async.fan_out.fan_out import FanOut, KeyT, SendOutcome
from nexmo_dispatch_async.fan_out.send_many import many
from nexmo_dispatch_async.interruption import Interruption, note, tell
from nexmo_dispatch_async.models.responses import Dispatch
from nexmo_dispatch_async.retry import RetryPolicy, Timeout
from nexmo_dispatch_async.rules import Rules
from nexmo_dispatch_async.sansio import Request, Response, decipher_dispatch, dispatch_request, observed
from nexmo_dispatch_async.transport.call import Calls
from nexmo_dispatch_async.transport.statistics import ClientStatistics
from nexmo_dispatch_async.workflow import Step, Workflow
from nexmo_dispatch_core.bursts import Bursts
from nexmo_dispatch_core.unfinished import shows_unfinished

if TYPE_CHECKING:
    from nexmo_dispatch_async.tracking import Tracker

__all__ = ["KPN_BASE_URL", "VONAGE_URL", "DispatchClient", "new_client_ref"]

T = TypeVar("T")

logger: logging.Logger = logging.getLogger("nexmo_dispatch_async")

VONAGE_URL = "https://api.nexmo.com"


def new_client_ref() -> str:
    """Return a new, unique reference, for `DispatchClient(client_ref=new_client_ref)`."""
    return uuid.uuid4().hex


class DispatchClient(Unpicklable):
    """A client of the Dispatch API. Use it with `async with`, or call `aclose()` when done.

    Args:
        auth: Who is calling: `KpnOAuth`, or anything that follows the `Auth` protocol.
        application_id: In whose name workflows are sent, as text or `UUID`. May be left out as long as none
            is sent, and has to be without `application_header`: nothing would carry it.
        base_url: Of the service. `http://` to another machine is warned of, see `PlainHTTPWarning`.
        session: A session of your own; it is not closed here. Its connector limits the connections.
        tracker: Follows what is sent: then `dispatch.wait()` tells what became of it. It is not closed here.
        retry: How often to try again what provably did not happen: by default 4 attempts within 60 s.
        timeout: How long one attempt may take: by default 30 s, 10 of them to connect.
        limit: How many requests may be under way at once; the others wait, for which there is no time-out.
        rules: Which rules a workflow is held against before it is sent.
        client_ref: Makes a reference for each workflow, such as `new_client_ref`; its steps carry it unless
            they have their own, and message statuses repeat it. Off unless asked for, see docs/client.md.
        middleware: What stands around each call and each attempt, the outermost first.
        ssl: A TLS context, for private authorities or client certificates; not with a session of your own.
        proxy: The URL of a proxy, with credentials if it wants some; not with a session of your own.
        trust_env: Whether the proxies of the environment count: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and
            `NO_PROXY`, as they are now; not with `proxy` or a session of your own.
        keepalive_timeout: How long an idle connection is kept, in seconds from 0, for none, to 86,400; not
            with a session of your own. It has to be less than the service keeps one, see docs/operations.md.
            A time that the service names in `Keep-Alive` is kept to besides.
        applications_path: Below the base URL, see `Applications`.
        applications_url: The base URL of the application calls, if it is another one.
        application_header: Whether workflows carry the `ApplicationId` header. KPN requires it; Vonage itself
            knows the application from the token.
        api_version: The `api-version` header, if it has to be set (contract 1.2).
        max_response: Maximum length of a response, in bytes.
        clock: Seconds that only go forward.
        wall_clock: Epoch seconds, for services that name a date to come back at.
        sleep: How to wait between attempts.
        random: A number from [0, 1), for the jitter.

    Raises:
        ConfigurationError: A setting is missing or wrong.
    """

    @takes_settings
    def __init__(
        self,
        *,
        auth: Auth,
        application_id: str | uuid.UUID | None = None,
        **settings: Unpack[ClientOptions],
    ) -> None:
        checked = ClientSettings(auth=auth, application_id=application_id, **settings)
        self._settings = checked
        self._calls = Calls(checked)
        self._not_followed = Bursts()
        self._applications = Applications(
            self, checked.applications_url or checked.base_url, checked.applications_path
        )
        # What every dispatch has in common
        self._dispatch = dispatch_request(checked.base_url, checked.dispatch_headers, b"")

    @classmethod
    def kpn(
        cls,
        client_id: str,
        client_secret: str,
        application_id: str | uuid.UUID | None = None,
        *,
        token_url: str = KPN_TOKEN_URL,
        **settings: Unpack[ClientOptions],
    ) -> Self:
        """Make a client of KPN's API (contract 1.1); `settings` are arguments of `DispatchClient`."""
        auth = KpnOAuth(client_id, client_secret, token_url)
        return cls(auth=auth, application_id=application_id, **settings)

    @classmethod
    def vonage(cls, auth: Auth, **settings: Unpack[ClientOptions]) -> Self:
        """Make a client of Vonage's own API (contract 1.1, 2.4); `auth`: `VonageJWT` or `BasicAuth`.

        It takes no `application_id`: Vonage knows the application from the token.
        """
        settings.setdefault("base_url", f"{VONAGE_URL}/v0.1")
        settings.setdefault("applications_url", VONAGE_URL)
        settings.setdefault("applications_path", "/v2/applications")
        settings.setdefault("application_header", False)
        return cls(auth=auth, **settings)

    @classmethod
    def from_env(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        auth: Auth | None = None,
        application_id: str | uuid.UUID | UnsetType | None = UNSET,
        **settings: Unpack[ClientOptions],
    ) -> Self:
        """Make a client from environment variables.

        `NEXMO_DISPATCH_CLIENT_ID`, `NEXMO_DISPATCH_CLIENT_SECRET` and `NEXMO_DISPATCH_APPLICATION_ID` are
        required. `NEXMO_DISPATCH_BASE_URL` and `NEXMO_DISPATCH_TOKEN_URL` name another service, both or none
        of them.

        Args:
            environ: The environment; None for that of the process.
            auth: Instead of the client id and the secret, which are then not required.
            application_id: Instead of that of the environment; None for a client that sends no workflow, and
                only makes application calls.
            **settings: Arguments of `DispatchClient`; they win over the environment.

        Raises:
            ConfigurationError: A variable is missing or wrong; the message names it.
        """
        found = Environment(os.environ if environ is None else environ)
        given = "base_url" in settings
        base_url = check_url("base_url", settings["base_url"]) if given else found.base_url()
        settings["base_url"] = base_url or KPN_BASE_URL
        wanted = application_id is UNSET and settings.get("application_header", True)
        found.require(credentials=auth is None, application_id=wanted)
        if auth is None:
            auth = found.credentials(base_url)
        if application_id is UNSET:
            application_id = found.application_id()
        return cls(auth=auth, application_id=application_id, **settings)

    @shows_unfinished
    def __repr__(self) -> str:
        return f"DispatchClient({self._settings.base_url!r}, {self._calls.state})"

    async def __aenter__(self) -> Self:
        self._calls.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections, unless the session is yours, and end the pauses between attempts.

        Calls under way fail at once with what is known of them. On a session of yours calls that wait for a
        response go on until it comes, or their timeout, or until you close the session.
        """
        await self._calls.aclose()

    @property
    def retry(self) -> RetryPolicy:
        """How often this client tries: `msgspec.structs.replace(client.retry, attempts=1)` for a call."""
        return self._settings.retry

    @property
    def timeout(self) -> Timeout:
        """How long an attempt of this client may take."""
        return self._settings.timeout

    @property
    def applications(self) -> Applications:
        """The application calls: `create`, `list`, `get`, `update`, `delete`, `iterate`."""
        return self._applications

    def statistics(self) -> ClientStatistics:
        """Return what the client has done and is doing, in numbers."""
        return self._calls.statistics()

    async def send(
        self,
        workflow: Workflow | Step,
        *,
        retry: RetryPolicy | None = None,
        timeout: Timeout | None = None,  # noqa: ASYNC109 - per attempt and phase, which a scope cannot tell apart
        rules: Rules | None = None,
        client_ref: str | None = None,
        on_response: Callable[[Response], object] | None = None,
    ) -> Dispatch:
        """Send a workflow, once.

        It is checked first. It is tried again only if it provably did not happen: no connection, a token that
        the gateway rejected (once, with a new one), a quota or rate limit.

        If it is cancelled, `interruption_of(error)` tells whether it was sent.

        Args:
            workflow: What to send; a step, such as `sms.text(…)`, is sent as a workflow of one step.
            retry: Instead of the client's own policy, with all its fields.
            timeout: Instead of the client's own, with both its fields.
            rules: Instead of the client's own.
            client_ref: The reference of the steps that have none, instead of one that the client makes.
            on_response: Called with the successful response: its status, headers and bytes.

        Raises:
            InvalidWorkflowError: It breaks a rule of the API; nothing was sent.
            NotSentError: Nothing was accepted; sending it again is safe.
            RefusedError: The service refused it.
            OutcomeUnknownError: Bytes were sent and no usable response came; the workflow may have started.
            ConfigurationError: The client has no `application_id`, or that is no workflow.
            ClientClosedError: The client is closed or belongs to another event loop.
        """
        settings = self._settings
        if isinstance(workflow, Step):
            workflow = Workflow((workflow,))
        if client_ref is None and settings.client_ref is not None:
            client_ref = settings.client_ref()
        try:
            if client_ref is not None:
                workflow = workflow.with_client_ref(client_ref)
            body = workflow.checked_json(settings.rules if rules is None else rules)
        except AttributeError:
            # Only now, since nearly always it is one, and every send would pay for the look.
            check_workflow(workflow)
            raise
        decode = observed(decipher_dispatch, on_response)
        dispatch = await self._calls.call(self.ready_request(body), decode, retry, timeout, workflow)
        if refs := workflow.client_refs:
            dispatch = Dispatch(dispatch.dispatch_uuid, client_refs=refs)
        tracker = settings.tracker
        return dispatch if tracker is None else await self._follow(tracker, dispatch, workflow)

    @overload
    def send_many(
        self,
        workflows: Iterable[Workflow] | AsyncIterable[Workflow],
        *,
        limit: int = 64,
        retry: RetryPolicy | None = None,
        timeout: Timeout | None = None,
        rules: Rules | None = None,
        brake: Brake | None = Brake(),  # noqa: B008 - frozen
    ) -> FanOut[Workflow, SendOutcome[None]]: ...

    @overload
    def send_many(
        self,
        workflows: Iterable[Step] | AsyncIterable[Step],
        *,
        limit: int = 64,
        retry: RetryPolicy | None = None,
        timeout: Timeout | None = None,
        rules: Rules | None = None,
        brake: Brake | None = Brake(),  # noqa: B008 - frozen
    ) -> FanOut[Step, SendOutcome[None]]: ...

    @overload
    def send_many(
        self,
        workflows: Iterable[tuple[KeyT, Workflow]] | AsyncIterable[tuple[KeyT, Workflow]],
        *,
        limit: int = 64,
        retry: RetryPolicy | None = None,
        timeout: Timeout | None = None,
        rules: Rules | None = None,
        brake: Brake | None = Brake(),  # noqa: B008 - frozen
    ) -> FanOut[tuple[KeyT, Workflow], SendOutcome[KeyT]]: ...

    @overload
    def send_many(
        self,
        workflows: Iterable[tuple[KeyT, Step]] | AsyncIterable[tuple[KeyT, Step]],
        *,
        limit: int = 64,
        retry: RetryPolicy | None = None,
        timeout: Timeout | None = None,
        rules: Rules | None = None,
        brake: Brake | None = Brake(),  # noqa: B008 - frozen
    ) -> FanOut[tuple[KeyT, Step], SendOutcome[KeyT]]: ...

    def send_many(
        self,
        workflows: Iterable[Any] | AsyncIterable[Any],
        *,
        limit: int = 64,
        retry: RetryPolicy | None = None,
        timeout: Timeout | None = None,
        rules: Rules | None = None,
        brake: Brake | None = Brake(),  # noqa: B008 - frozen
    ) -> FanOut[Any, SendOutcome[Any]]:
        """Send many workflows, at most `limit` at a time, and yield one outcome for each as it completes.

        A pair of a key and a workflow stands for the workflow; its outcome has the key, as it is: the number
        of a row, for instance. It is not sent, and shown nowhere.

        See `FanOut` for what happens when the input raises or the consumer leaves early.

        Example:
            async with client.send_many(workflows) as outcomes:
                async for outcome in outcomes:
                    print(outcome.outcome)

            async for outcome in client.send_many(workflows_by_row.items()):
                print(outcome.key, outcome.outcome)

        Args:
            workflows: Workflows or single steps, or pairs of a key and one of these; read no further ahead
                than `limit`.
            limit: In flight and not yet consumed, together. The client's own `limit` applies as well.
            retry: Instead of the client's own policy.
            timeout: Instead of the client's own.
            rules: Instead of the client's own.
            brake: When to pause, and when to stop, since one after the other is unknown or not sent; `None`
                for never. What is left after a stop has the outcome `NotSent`, with a `SendingStoppedError`.

        Raises:
            ConfigurationError: `limit` is below 1, `workflows` is a mapping, a text or no collection,
                or the client has no `application_id`.
        """
        self._require_application()
        check_workflows(workflows)

        def send(workflow: Workflow) -> Awaitable[Dispatch]:
            return self.send(workflow, retry=retry, timeout=timeout, rules=rules)

        return many(workflows, send, limit=limit, brake=brake, pause=self._calls.pause)

    async def call(
        self,
        request: Request,
        decode: Callable[[Response], T],
        *,
        retry: RetryPolicy | None = None,
        timeout: Timeout | None = None,  # noqa: ASYNC109 - as in send()
        before_write: Callable[[], object] | None = None,
    ) -> T:
        """Carry a request with authorization, retries and typed errors: what all other methods stand on.

        Args:
            request: Without authorization.
            decode: Reads a successful response: its status, headers and bytes.
            retry: Instead of the client's own policy.
            timeout: Instead of the client's own.
            before_write: Called just before the request is written, after all waits for a slot, a token and a
                connection, perhaps more than once. Its exception ends the call, and nothing was sent.

        Raises:
            APIError: One of its subclasses.
            ClientClosedError: The client is closed or belongs to another event loop.
            Exception: That of `before_write`.
        """
        return await self._calls.call(request, decode, retry, timeout, before_write=before_write)

    def ready_request(self, body: bytes) -> Request:
        """Return the `POST /dispatch` of a workflow in JSON that was checked before; `call()` carries it."""
        self._require_application()
        common = self._dispatch
        return Request(common.method, common.url, common.headers, body, common.template)

    async def _follow(self, tracker: Tracker, dispatch: Dispatch, workflow: Workflow) -> Dispatch:
        """Let the tracker follow what was accepted; the caller gets its id, whatever the store raises."""
        try:
            return await tracker.sent(dispatch, workflow)
        except Exception as error:
            name = type(error).__name__
            if (more := self._not_followed.begin(name)) is not None:
                logger.exception("POST /dispatch: accepted, and not followed: %s%s", name, more)
            return dispatch
        except BaseException as error:
            note(error, Interruption("sent", "POST /dispatch", dispatch=dispatch))
            tell(error, workflow)
            raise

    def _require_application(self) -> None:
        if self._settings.application_id is None and self._settings.application_header:
            raise ConfigurationError(
                "sending needs an application_id: DispatchClient(application_id=…), or "
                "NEXMO_DISPATCH_APPLICATION_ID for from_env()"
            )
