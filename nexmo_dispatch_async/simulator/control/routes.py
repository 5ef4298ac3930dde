"""The control API and the page over HTTP: state, virtual time, statuses and replies by hand.

The files of the page are in `page/`, the views in `feed.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal

import anyio
import msgspec
from aiohttp import web

from nexmo_dispatch_async.simulator.api import openapi, origin_check
from nexmo_dispatch_async.simulator.api.server import called_address
from nexmo_dispatch_async.simulator.control.account_routes import AccountRoutes
from nexmo_dispatch_async.simulator.control.controlled import ControlledSimulator
from nexmo_dispatch_async.simulator.control.fault_routes import FaultRoutes
from nexmo_dispatch_async.simulator.control.feed import Feed, View
from nexmo_dispatch_async.simulator.control.http import (
    Body,
    Handler,
    Nothing,
    Route,
    error,
    json_answer,
    number,
    origin,
    read,
    refuse,
)
from nexmo_dispatch_async.simulator.control.shell_commands import as_curl, as_request
from nexmo_dispatch_async.simulator.control.views import (
    Callbacks,
    Calls,
    CallView,
    ClockMoved,
    ClockView,
    Jumped,
    MessageChanged,
    Snapshot,
    WaitedUntilIdle,
    WorkflowView,
    fault_views,
)
from nexmo_dispatch_async.simulator.engine import Engine, Run
from nexmo_dispatch_core.error_names import REASONS

__all__ = ["Control"]

_PAGE: Final = Path(__file__).parent / "page"
_TYPES: Final = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
_PATCH_INTERVAL_S: Final = 0.1
_KEEPALIVE_INTERVAL_S: Final = 15.0
_WATCHERS: Final = 16
_MOST: Final = 500  # workflows or callbacks in one answer
_NEVER_REACHED: Final = 2**53
_YEAR: Final = 366 * 24 * 3600

Seconds = Annotated[float, msgspec.Meta(ge=0, le=_YEAR)]

_DEFAULT_CODES: Final = {"rejected": 1300, "undeliverable": 1260}


class _Advance(Body, frozen=True, kw_only=True):
    seconds: Seconds
    settle: Seconds = 5.0


class _AdvanceUntilIdle(Body, frozen=True, kw_only=True):
    limit: Seconds = 172_800.0


class _Speed(Body, frozen=True, kw_only=True):
    speed: Annotated[float, msgspec.Meta(ge=0, le=1_000_000)]


class _Status(Body, frozen=True, kw_only=True):
    status: Literal["submitted", "delivered", "read", "rejected", "undeliverable"]
    code: Annotated[int, msgspec.Meta(ge=0, le=99_999)] | None = None


class _ReplyText(Body, frozen=True, kw_only=True):
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]


class Control:
    """The routes of the page and of the control API.

    Args:
        sim: The simulator.
        engine: Its engine, read only.
        epoch: The moment of virtual time 0.
        hosts: Host names that requests may use besides loopback and the bound address.
        advancing: Returns whether `advance()` is in progress.
    """

    def __init__(
        self,
        sim: ControlledSimulator,
        *,
        engine: Engine,
        epoch: datetime,
        hosts: frozenset[str],
        advancing: Callable[[], bool],
    ) -> None:
        self._sim = sim
        self._engine = engine
        self._advancing = advancing
        self._hosts = hosts
        self._view = View(
            engine,
            epoch=epoch,
            speed=lambda: sim.speed,
            catch_up=lambda: sim.now,
            faults=lambda: fault_views(sim.faults),
        )
        self._closing = anyio.Event()
        self._feeds: set[Feed] = set()
        self._resume_speed = 1.0
        self._routes = tuple(self.routes())

    def mount(self, app: web.Application) -> None:
        """Add the routes to an application, before any catch-all route."""
        self._closing = anyio.Event()
        app.on_shutdown.append(self._close)
        files = {
            path.name: (path.read_bytes(), _TYPES[path.suffix])
            for path in _PAGE.iterdir()
            if path.suffix in _TYPES
        }

        def page(name: str) -> Handler:
            async def serve(_: web.Request) -> web.Response:
                body, kind = files[name]
                # no-cache: the browser revalidates each time, so that an update of the package shows at once
                headers = {"Cache-Control": "no-cache"}
                return web.Response(body=body, content_type=kind, charset="utf-8", headers=headers)

            return self._guarded(serve, page=name == "index.html")

        app.router.add_get("/", page("index.html"))
        for name in files:
            app.router.add_get(f"/page/{name}", page(name))
        app.router.add_get(openapi.PATH, self._guarded(self._openapi))
        for route in self._routes:
            app.router.add_route(route.method, route.path, self._guarded(route.handler))
        app.router.add_get("/control/", self._guarded(self._index))
        app.router.add_route("*", "/control{tail:(/.*)?}", self._guarded(self._unknown, only_json=False))

    def routes(self) -> Iterator[Route]:
        """Yield each route of the control API."""
        yield Route("GET", "/control", self._index, "this list", answer=Calls)
        yield from self._state_routes()
        yield from self._clock_routes()
        yield Route(
            "POST",
            "/control/messages/{uuid}/status",
            self._set_status,
            "let a message reach a status now",
            body=_Status,
            answer=MessageChanged,
        )
        yield Route(
            "POST",
            "/control/messages/{uuid}/reply",
            self._reply,
            "let the recipient of a message answer it now",
            body=_ReplyText,
            answer=MessageChanged,
        )
        yield Route(
            "POST",
            "/control/clear",
            self._clear,
            "forget all workflows, records and callbacks",
            body=Nothing,
            answer=ClockMoved,
        )
        yield from AccountRoutes(self._sim, self._after_inbound).routes()
        yield from FaultRoutes(self._sim, self._engine.settings).routes()

    def _state_routes(self) -> Iterator[Route]:
        limit = ("limit", _MOST)
        yield Route(
            "GET",
            "/control/state",
            self._state,
            "clock, totals, and the newest workflows and callbacks",
            query=(limit,),
            answer=Snapshot,
        )
        yield Route(
            "GET",
            "/control/events",
            self._events,
            "server-sent events: a snapshot, then patches with what changed",
            kind="text/event-stream",
        )
        yield Route("GET", "/control/workflows/{uuid}", self._workflow, "one workflow", answer=WorkflowView)
        yield Route(
            "GET",
            "/control/workflows/{uuid}/curl",
            self._curl,
            "the shell command that sends a workflow again",
            kind="text/plain",
        )
        yield Route(
            "GET",
            "/control/callbacks",
            self._callbacks,
            "attempts to deliver callbacks, newest first",
            query=(("after", _NEVER_REACHED), limit, ("workflow", None)),
            answer=Callbacks,
        )
        yield Route(
            "GET", "/control/codes", self._codes, "the names of the error codes", answer=dict[str, str]
        )
        yield Route(
            "GET",
            "/control/transcript",
            self._transcript,
            "everything that happened, one JSON object a line",
            kind="application/jsonl",
        )

    def _clock_routes(self) -> Iterator[Route]:
        moves: tuple[tuple[str, Handler, str, type[Body], type], ...] = (
            ("advance", self._advance, "let time pass", _Advance, ClockMoved),
            (
                "advance_until_idle",
                self._advance_until_idle,
                "let time pass until nothing more happens by itself",
                _AdvanceUntilIdle,
                WaitedUntilIdle,
            ),
            ("jump", self._jump, "go to the next event", Nothing, Jumped),
            ("speed", self._set_speed, "virtual seconds per real second", _Speed, ClockMoved),
            ("pause", self._pause, "stand still", Nothing, ClockMoved),
            ("resume", self._resume, "go on as before", Nothing, ClockMoved),
        )
        for name, handler, summary, body, answer in moves:
            yield Route("POST", f"/control/{name}", handler, summary, body=body, answer=answer)

    async def _close(self, _: web.Application) -> None:
        self._closing.set()

    def _guarded(self, handler: Handler, *, page: bool = False, only_json: bool = True) -> Handler:
        """Refuse requests of other web sites, and add the security headers to every response."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            hosts = self._hosts | called_address(request)
            refused = origin_check.refusal(
                request.method, request.headers, hosts=hosts, page=page, only_json=only_json
            )
            if refused is not None:
                response: web.StreamResponse = error(*refused)
            else:
                try:
                    response = await handler(request)
                except web.HTTPException as problem:
                    response = error(problem.status, problem.text or problem.reason)
            if not response.prepared:
                response.headers.update(origin_check.HEADERS)
            return response

        return guarded

    # ---- state

    async def _state(self, request: web.Request) -> web.Response:
        return json_answer(self._view.snapshot(number(request, "limit", 100, most=_MOST)))

    async def _workflow(self, request: web.Request) -> web.Response:
        run = self._run(request)
        self._view.log.catch_up()
        return json_answer(self._view.workflow(run))

    async def _curl(self, request: web.Request) -> web.Response:
        run = self._run(request)
        application = run.application.id
        return web.Response(
            text=as_curl(as_request(run), application=application, origin=origin(request), sim=self._sim)
        )

    async def _callbacks(self, request: web.Request) -> web.Response:
        after = number(request, "after", 0, most=_NEVER_REACHED)
        limit = number(request, "limit", 100, most=_MOST)
        if (uuid := request.query.get("workflow")) is None:
            found = self._view.callbacks(after=after, limit=limit)
        else:
            found = self._view.callbacks_of(uuid, after=after, limit=limit)
        return json_answer(Callbacks(total=self._engine.history.total, callbacks=found))

    async def _codes(self, _: web.Request) -> web.Response:
        return json_answer({str(code): name for code, name in REASONS.items()})

    async def _openapi(self, request: web.Request) -> web.Response:
        sim, application = self._sim, self._sim.default_application
        document = openapi.filled(
            openapi.whole(self._routes),
            server=origin(request),
            client_id=sim.client_id,
            client_secret=sim.client_secret,
            application_id=None if application is None else application.id,
        )
        return json_answer(document)

    async def _index(self, _: web.Request) -> web.Response:
        routes = [
            CallView(method=route.method, path=route.path, summary=route.summary) for route in self._routes
        ]
        return json_answer(Calls(routes=routes, description=openapi.PATH))

    async def _transcript(self, _: web.Request) -> web.Response:
        return web.Response(body=self._sim.transcript(), content_type="application/jsonl")

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if len(self._feeds) >= _WATCHERS:
            refuse(503, f"at most {_WATCHERS} watchers are allowed")
        feed = Feed(self._view)
        headers = {**origin_check.HEADERS, "Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        response = web.StreamResponse(headers=headers)
        self._feeds.add(feed)
        try:
            await response.prepare(request)
            await response.write(b"retry: 1000\n\n")
            await self._write_patches(feed, response)
        except ConnectionError:  # the watcher has disconnected
            pass
        finally:
            self._feeds.discard(feed)
        return response

    async def _write_patches(self, feed: Feed, response: web.StreamResponse) -> None:
        """Write patches, at most ten per second; a slow watcher gets fewer and larger ones."""
        quiet = 0.0
        while not self._closing.is_set():
            event = feed.next()
            if event is not None:
                name = type(event).__name__.lower().encode()
                await response.write(b"event: %s\ndata: %s\n\n" % (name, msgspec.json.encode(event)))
                quiet = 0.0
            elif quiet >= _KEEPALIVE_INTERVAL_S:
                await response.write(b": still here\n\n")
                quiet = 0.0
            with anyio.move_on_after(_PATCH_INTERVAL_S):
                await self._closing.wait()
            quiet += _PATCH_INTERVAL_S

    # ---- the clock

    async def _advance(self, request: web.Request) -> web.Response:
        body = await read(request, _Advance)
        await self._sim.advance(body.seconds, settle=body.settle)
        return self._time()

    async def _advance_until_idle(self, request: web.Request) -> web.Response:
        body = await read(request, _AdvanceUntilIdle)
        if self._sim.speed is not None:
            refuse(409, "time runs by itself here; use /control/advance")
        idle = await self._sim.advance_until_idle(limit=body.limit)
        return json_answer(WaitedUntilIdle(clock=self._moved(), idle=idle))

    async def _jump(self, request: web.Request) -> web.Response:
        await read(request, Nothing)
        clock = self._view.clock()
        if clock.next_event_ms is None:
            return json_answer(Jumped(clock=clock, jumped=False))
        await self._sim.advance(max(0, clock.next_event_ms - clock.now_ms) / 1000, settle=0)
        return json_answer(Jumped(clock=self._moved(), jumped=True))

    async def _set_speed(self, request: web.Request) -> web.Response:
        return self._run_at((await read(request, _Speed)).speed)

    async def _pause(self, request: web.Request) -> web.Response:
        await read(request, Nothing)
        self._resume_speed = self._sim.speed or self._resume_speed
        return self._run_at(0)

    async def _resume(self, request: web.Request) -> web.Response:
        await read(request, Nothing)
        return self._run_at(self._sim.speed or self._resume_speed)

    def _run_at(self, speed: float) -> web.Response:
        if self._sim.speed is None:
            refuse(409, "this simulator's time is moved by hand; use /control/advance")
        self._sim.speed = speed
        return self._time()

    def _time(self) -> web.Response:
        return json_answer(ClockMoved(clock=self._moved()))

    def _moved(self) -> ClockView:
        """Return the clock, and include it in the next event of each watcher."""
        for feed in self._feeds:
            feed.touch()
        return self._view.clock()

    # ---- manual control

    async def _set_status(self, request: web.Request) -> web.Response:
        body = await read(request, _Status)
        run = self._run_of_message(request)
        code = _DEFAULT_CODES.get(body.status) if body.code is None else body.code
        self._sim.set_status(request.match_info["uuid"], body.status, code=code)
        return await self._after(run)

    async def _reply(self, request: web.Request) -> web.Response:
        body = await read(request, _ReplyText)
        run = self._run_of_message(request)
        self._sim.reply(request.match_info["uuid"], body.text)
        return await self._after(run)

    async def _after(self, run: Run) -> web.Response:
        """Deliver the callback and return the workflow."""
        await self._deliver()
        self._view.log.catch_up()
        return json_answer(MessageChanged(clock=self._view.clock(), workflow=self._view.workflow(run)))

    async def _after_inbound(self) -> web.Response:
        """Deliver the callback and return the clock."""
        await self._deliver()
        return self._time()

    async def _deliver(self) -> None:
        """Deliver the callbacks that are due, unless an `advance()` in progress does."""
        if self._sim.speed is None and not self._advancing():
            await self._sim.advance(0)

    async def _clear(self, request: web.Request) -> web.Response:
        await read(request, Nothing)
        self._sim.clear()
        return self._time()

    async def _unknown(self, request: web.Request) -> web.Response:
        refuse(404, f"there is no {request.method} {request.path}")

    def _run(self, request: web.Request) -> Run:
        run = self._engine.runs.get(request.match_info["uuid"])
        return refuse(404, "no workflow in memory has this uuid") if run is None else run

    def _run_of_message(self, request: web.Request) -> Run:
        message = self._engine.messages.get(request.match_info["uuid"])
        return refuse(404, "no message in memory has this uuid") if message is None else message.run
