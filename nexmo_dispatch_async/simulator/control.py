"""The control API and the page over HTTP: look at the simulator, move its clock, take a handset.

It decides nothing about the service; the page's files are in `page/`, what is shown is in `live.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, NoReturn, TypeVar

import anyio
import msgspec
from aiohttp import web

from nexmo_dispatch_async.simulator import guard
from nexmo_dispatch_async.simulator.codes import REASONS
from nexmo_dispatch_async.simulator.engine import Engine, Run
from nexmo_dispatch_async.simulator.live import ClockView, Feed, View, as_curl
from nexmo_dispatch_async.simulator.settings import Settings

if TYPE_CHECKING:
    from nexmo_dispatch_async.simulator.simulator import Simulator

__all__ = ["Control"]

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_T = TypeVar("_T")

_PAGE: Final = Path(__file__).parent / "page"
_TYPES: Final = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
_SECONDS_BETWEEN_PATCHES: Final = 0.1
_SECONDS_BETWEEN_SIGNS_OF_LIFE: Final = 15.0
_WATCHERS: Final = 16
_MOST: Final = 500  # workflows or callbacks in one answer
_YEAR: Final = 366 * 24 * 3600

Seconds = Annotated[float, msgspec.Meta(ge=0, le=_YEAR)]

_DEFAULT_CODES: Final = {"rejected": 1300, "undeliverable": 1260}


class _Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class _Nothing(_Body, frozen=True, kw_only=True):
    pass


class _Advance(_Body, frozen=True, kw_only=True):
    seconds: Seconds
    settle: Seconds = 5.0


class _AdvanceUntilIdle(_Body, frozen=True, kw_only=True):
    limit: Seconds = 172_800.0


class _Speed(_Body, frozen=True, kw_only=True):
    speed: Annotated[float, msgspec.Meta(ge=0, le=1_000_000)]


class _Status(_Body, frozen=True, kw_only=True):
    status: Literal["submitted", "delivered", "read", "rejected", "undeliverable"]
    code: Annotated[int, msgspec.Meta(ge=0, le=99_999)] | None = None


class _ReplyText(_Body, frozen=True, kw_only=True):
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]


class _Switches(_Body, frozen=True, kw_only=True):
    """The settings that a running simulator may be given from outside; each is optional."""

    latency: Annotated[float, msgspec.Meta(ge=0, le=60)] | msgspec.UnsetType = msgspec.UNSET
    quota_limit: Annotated[int, msgspec.Meta(ge=0)] | msgspec.UnsetType = msgspec.UNSET
    token_fault: Literal[401, 500] | msgspec.UnsetType = msgspec.UNSET
    quota_fault: Literal[429, 500] | msgspec.UnsetType = msgspec.UNSET
    credential_error: Literal[401, 500] | msgspec.UnsetType = msgspec.UNSET
    care_window: bool | msgspec.UnsetType = msgspec.UNSET
    sandbox: bool | msgspec.UnsetType = msgspec.UNSET
    accept_bare_step: bool | msgspec.UnsetType = msgspec.UNSET
    resign_retries: bool | msgspec.UnsetType = msgspec.UNSET


class Control:
    """The routes of the page and of the control API.

    Args:
        sim: What is controlled.
        engine: Its engine, to look at.
        epoch: The moment that virtual time 0 stands for.
        host: The name or address that the server is bound to.
        advancing: Says whether somebody is moving the clock right now.
    """

    def __init__(
        self, sim: Simulator, *, engine: Engine, epoch: datetime, host: str, advancing: Callable[[], bool]
    ) -> None:
        self._sim = sim
        self._engine = engine
        self._advancing = advancing
        self._hosts = frozenset({host.lower()}) - {"", "0.0.0.0", "::"}  # noqa: S104 - these are taken out
        self._view = View(engine, epoch=epoch, speed=lambda: sim.speed, catch_up=lambda: sim.now)
        self._closing = anyio.Event()
        self._feeds: set[Feed] = set()
        self._resume_speed = 1.0

    def mount(self, app: web.Application) -> None:
        """Add the routes to an application, before any that takes every path."""
        self._closing = anyio.Event()
        app.on_shutdown.append(self._close)
        files = {
            path.name: (path.read_bytes(), _TYPES[path.suffix])
            for path in _PAGE.iterdir()
            if path.suffix in _TYPES
        }

        def page(name: str) -> _Handler:
            async def serve(_: web.Request) -> web.Response:
                body, kind = files[name]
                # no-cache: the browser asks each time, so that an update of the package shows at once
                headers = {"Cache-Control": "no-cache"}
                return web.Response(body=body, content_type=kind, charset="utf-8", headers=headers)

            return self._guarded(serve, page=name == "index.html")

        app.router.add_get("/", page("index.html"))
        for name in files:
            app.router.add_get(f"/page/{name}", page(name))
        get, post = app.router.add_get, app.router.add_post
        get("/control/state", self._guarded(self._state))
        get("/control/events", self._guarded(self._events))
        get("/control/workflows/{uuid}", self._guarded(self._workflow))
        get("/control/workflows/{uuid}/curl", self._guarded(self._curl))
        get("/control/callbacks", self._guarded(self._callbacks))
        get("/control/codes", self._guarded(self._codes))
        get("/control/transcript", self._guarded(self._transcript))
        get("/control/settings", self._guarded(self._settings))
        post("/control/settings", self._guarded(self._change_settings))
        post("/control/tokens/expire", self._guarded(self._expire_tokens))
        post("/control/advance", self._guarded(self._advance))
        post("/control/advance_until_idle", self._guarded(self._advance_until_idle))
        post("/control/jump", self._guarded(self._jump))
        post("/control/speed", self._guarded(self._set_speed))
        post("/control/pause", self._guarded(self._pause))
        post("/control/resume", self._guarded(self._resume))
        post("/control/messages/{uuid}/status", self._guarded(self._set_status))
        post("/control/messages/{uuid}/reply", self._guarded(self._reply))
        app.router.add_route("*", "/control{tail:(/.*)?}", self._guarded(self._unknown))

    async def _close(self, _: web.Application) -> None:
        self._closing.set()

    def _guarded(self, handler: _Handler, *, page: bool = False) -> _Handler:
        """Refuse what another site may have made, and give every answer the headers that keep it at home."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            hosts = self._hosts
            if request.transport is not None:  # bound to all addresses: the one that was called is ours
                hosts |= {str(request.transport.get_extra_info("sockname")[0]).lower()}
            refused = guard.refusal(request.method, request.headers, hosts=hosts, page=page)
            if refused is not None:
                response: web.StreamResponse = _error(*refused)
            else:
                try:
                    response = await handler(request)
                except web.HTTPException as error:
                    response = _error(error.status, error.text or error.reason)
            if not response.prepared:
                response.headers.update(guard.HEADERS)
            return response

        return guarded

    # ---- looking

    async def _state(self, request: web.Request) -> web.Response:
        return _json(self._view.snapshot(_number(request, "limit", 100, most=_MOST)))

    async def _workflow(self, request: web.Request) -> web.Response:
        run = self._run(request)
        self._view.story.catch_up()
        return _json(self._view.workflow(run))

    async def _curl(self, request: web.Request) -> web.Response:
        return web.Response(text=as_curl(self._run(request), self._sim.base_url))

    async def _callbacks(self, request: web.Request) -> web.Response:
        after = _number(request, "after", 0, most=2**53)
        found = self._view.callbacks(after=after, limit=_number(request, "limit", 100, most=_MOST))
        return _json({"total": self._engine.history.total, "callbacks": found})

    async def _codes(self, _: web.Request) -> web.Response:
        return _json({str(code): name for code, name in REASONS.items()})

    async def _transcript(self, _: web.Request) -> web.Response:
        return web.Response(body=self._sim.transcript(), content_type="application/jsonl")

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if len(self._feeds) >= _WATCHERS:
            _refuse(503, f"{_WATCHERS} watchers are enough")
        feed = Feed(self._view)
        headers = {**guard.HEADERS, "Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        response = web.StreamResponse(headers=headers)
        self._feeds.add(feed)
        try:
            await response.prepare(request)
            await response.write(b"retry: 1000\n\n")
            await self._tell(feed, response)
        except ConnectionError:  # the watcher has left
            pass
        finally:
            self._feeds.discard(feed)
        return response

    async def _tell(self, feed: Feed, response: web.StreamResponse) -> None:
        """Write what changed, ten times a second at most; a slow watcher is waited for, then told less."""
        quiet = 0.0
        while not self._closing.is_set():
            news = feed.next()
            if news is not None:
                name = type(news).__name__.lower().encode()
                await response.write(b"event: %s\ndata: %s\n\n" % (name, msgspec.json.encode(news)))
                quiet = 0.0
            elif quiet >= _SECONDS_BETWEEN_SIGNS_OF_LIFE:
                await response.write(b": still here\n\n")
                quiet = 0.0
            with anyio.move_on_after(_SECONDS_BETWEEN_PATCHES):
                await self._closing.wait()
            quiet += _SECONDS_BETWEEN_PATCHES

    # ---- the clock

    async def _advance(self, request: web.Request) -> web.Response:
        asked = await _read(request, _Advance)
        await self._sim.advance(asked.seconds, settle=asked.settle)
        return self._time()

    async def _advance_until_idle(self, request: web.Request) -> web.Response:
        asked = await _read(request, _AdvanceUntilIdle)
        if self._sim.speed is not None:
            _refuse(409, "time runs by itself here; use /control/advance")
        return self._time(idle=await self._sim.advance_until_idle(limit=asked.limit))

    async def _jump(self, request: web.Request) -> web.Response:
        await _read(request, _Nothing)
        clock = self._view.clock()
        if clock.next_event_ms is None:
            return self._time(jumped=False)
        await self._sim.advance(max(0, clock.next_event_ms - clock.now_ms) / 1000, settle=0)
        return self._time(jumped=True)

    async def _set_speed(self, request: web.Request) -> web.Response:
        return self._run_at((await _read(request, _Speed)).speed)

    async def _pause(self, request: web.Request) -> web.Response:
        await _read(request, _Nothing)
        self._resume_speed = self._sim.speed or self._resume_speed
        return self._run_at(0)

    async def _resume(self, request: web.Request) -> web.Response:
        await _read(request, _Nothing)
        return self._run_at(self._sim.speed or self._resume_speed)

    def _run_at(self, speed: float) -> web.Response:
        if self._sim.speed is None:
            _refuse(409, "this simulator's time is moved by hand; use /control/advance")
        self._sim.speed = speed
        return self._time()

    def _time(self, **more: object) -> web.Response:
        for feed in self._feeds:
            feed.touch()
        return _json({"clock": self._view.clock(), **more})

    # ---- hands on

    async def _set_status(self, request: web.Request) -> web.Response:
        asked = await _read(request, _Status)
        run = self._run_of_message(request)
        code = _DEFAULT_CODES.get(asked.status) if asked.code is None else asked.code
        self._sim.set_status(request.match_info["uuid"], asked.status, code=code)
        return await self._after(run)

    async def _reply(self, request: web.Request) -> web.Response:
        asked = await _read(request, _ReplyText)
        run = self._run_of_message(request)
        self._sim.reply(request.match_info["uuid"], asked.text)
        return await self._after(run)

    async def _after(self, run: Run) -> web.Response:
        """Let the callback go out; whoever is moving the clock already takes it along."""
        if self._sim.speed is None and not self._advancing():
            await self._sim.advance(0)
        self._view.story.catch_up()
        clock: ClockView = self._view.clock()
        return _json({"clock": clock, "workflow": self._view.workflow(run)})

    async def _settings(self, _: web.Request) -> web.Response:
        return _json(_switches(self._engine.settings))

    async def _change_settings(self, request: web.Request) -> web.Response:
        asked = await _read(request, _Switches)
        for name, value in msgspec.structs.asdict(asked).items():
            if value is not msgspec.UNSET:
                setattr(self._engine.settings, name, value)
        return _json(_switches(self._engine.settings))

    async def _expire_tokens(self, request: web.Request) -> web.Response:
        await _read(request, _Nothing)
        self._sim.expire_tokens()
        return _json({})

    async def _unknown(self, request: web.Request) -> web.Response:
        _refuse(404, f"there is no {request.method} {request.path}")

    def _run(self, request: web.Request) -> Run:
        run = self._engine.runs.get(request.match_info["uuid"])
        return _refuse(404, "no workflow in memory has this uuid") if run is None else run

    def _run_of_message(self, request: web.Request) -> Run:
        message = self._engine.messages.get(request.match_info["uuid"])
        return _refuse(404, "no message in memory has this uuid") if message is None else message.run


class _Refused(web.HTTPException):
    """An error of the control API; `_guarded` prints it."""

    status_code = 400

    def __init__(self, status: int, reason: str) -> None:
        self.status_code = status
        super().__init__(text=reason)


def _refuse(status: int, reason: str) -> NoReturn:
    raise _Refused(status, reason)


def _switches(settings: Settings) -> dict[str, object]:
    return {name: getattr(settings, name) for name in _Switches.__struct_fields__}


def _json(value: object) -> web.Response:
    headers = {"Cache-Control": "no-store"}
    return web.Response(body=msgspec.json.encode(value), content_type="application/json", headers=headers)


def _error(status: int, reason: str) -> web.Response:
    return web.json_response({"error": reason}, status=status)


async def _read(request: web.Request, kind: type[_T]) -> _T:
    body = await request.read()
    try:
        return msgspec.json.decode(body.strip() or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        _refuse(400, str(error))


def _number(request: web.Request, name: str, default: int, *, most: int) -> int:
    text = request.query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 17 and int(text) <= most):
        _refuse(400, f"{name} is a number from 0 to {most}")
    return int(text)
