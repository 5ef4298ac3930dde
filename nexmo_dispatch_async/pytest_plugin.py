"""Pytest fixtures for applications, available as soon as the package is installed: see docs/testing.md.

The plugin runs no async tests: pytest-asyncio or anyio's plugin does, and the fixtures use the event loop of
the test. The simulator is imported when a test first uses a fixture.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping
from contextlib import AsyncExitStack
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal

import pytest

if TYPE_CHECKING:
    from nexmo_dispatch_async.client import DispatchClient
    from nexmo_dispatch_async.simulator import Simulator
    from nexmo_dispatch_webhooks import Receiver, Router
    from nexmo_dispatch_webhooks.testing import WebhookClient

__all__ = [
    "MakeWebhookClient",
    "ServeRouter",
    "dispatch_client",
    "dispatch_receiver",
    "dispatch_simulator",
    "webhook_client",
]

#: Serves a router on a loopback port; returns the URL.
ServeRouter = Callable[..., Awaitable[str]]
#: Makes a client that posts signed callbacks to handlers.
MakeWebhookClient = Callable[..., "WebhookClient"]

_Fixture = Callable[..., AsyncIterator[Any]]
_LoopScope = Literal["function", "class", "module", "package", "session"]

_LOOP_SCOPES: Final[tuple[_LoopScope, ...]] = ("function", "class", "module", "package", "session")
_MARKER: Final = "dispatch_simulator"
_PACKAGES: Final = ("nexmo_dispatch_async.", "nexmo_dispatch_webhooks.")
_FOR_ASYNCIO: Final = "nexmo-dispatch-asyncio"
_SIMULATOR: Final = pytest.StashKey["Simulator"]()


# ---- public fixtures; each returns the value of a hidden fixture that runs in the event loop of the test


@pytest.fixture
def dispatch_simulator(request: pytest.FixtureRequest) -> Simulator:
    """A running simulator with a stopped clock; `@pytest.mark.dispatch_simulator(seed=7)` configures it."""
    made: Simulator = _in_the_loop(request, "simulator")
    return made


@pytest.fixture
def dispatch_client(request: pytest.FixtureRequest, dispatch_simulator: Simulator) -> DispatchClient:
    """A client of `dispatch_simulator`."""
    made: DispatchClient = _in_the_loop(request, "client")
    return made


@pytest.fixture
def dispatch_receiver(request: pytest.FixtureRequest, dispatch_simulator: Simulator) -> ServeRouter:
    """Serves a router on loopback, as the receiver of the callbacks for `dispatch_client`."""
    serve: ServeRouter = _in_the_loop(request, "receiver")
    return serve


@pytest.fixture
def webhook_client(request: pytest.FixtureRequest) -> MakeWebhookClient:
    """Makes `WebhookClient`s, which post callbacks to handlers and are closed after the test."""
    make: MakeWebhookClient = _in_the_loop(request, "webhooks")
    return make


def _fixtures() -> Mapping[str, _Fixture]:
    """Return new functions at each call: a fixture decorator marks the function that it decorates."""

    async def simulator(request: pytest.FixtureRequest) -> AsyncIterator[Simulator]:
        async with _simulator(request) as sim:
            sim.create_application()
            request.node.stash[_SIMULATOR] = sim
            yield sim

    async def client(dispatch_simulator: Simulator) -> AsyncIterator[DispatchClient]:
        application = dispatch_simulator.applications[0]
        async with dispatch_simulator.client(application_id=application.id) as made:
            yield made

    async def receiver(dispatch_simulator: Simulator) -> AsyncIterator[ServeRouter]:
        async with AsyncExitStack() as stack:

            async def serve(router: Router, **settings: Any) -> str:
                url = await _serve(stack, dispatch_simulator, router, settings)
                dispatch_simulator.applications[0].urls.update(status=url, inbound=url)
                return url

            yield serve

    async def webhooks() -> AsyncIterator[MakeWebhookClient]:
        from nexmo_dispatch_webhooks.testing import WebhookClient

        async with AsyncExitStack() as stack:

            def make(target: Router | Receiver | str, **settings: Any) -> WebhookClient:
                made = WebhookClient(target, **settings)
                stack.push_async_callback(made.aclose)
                return made

            yield make

    return {"simulator": simulator, "client": client, "receiver": receiver, "webhooks": webhooks}


# ---- the event loop of a test


def _in_the_loop(request: pytest.FixtureRequest, name: str) -> Any:
    """Return the value of the hidden fixture, made in the event loop of the test by the test's runner."""
    return request.getfixturevalue(f"_dispatch_{name}_in_{_runner(request)}")


def _runner(request: pytest.FixtureRequest) -> str:
    """Return the runner of the test: "anyio", or the loop scope of pytest-asyncio."""
    marker = request.node.get_closest_marker("asyncio")
    if marker is not None and request.config.pluginmanager.has_plugin(_FOR_ASYNCIO):
        scope = marker.kwargs.get("loop_scope") or marker.kwargs.get("scope")
        return scope or _ini(request.config, "asyncio_default_test_loop_scope") or "function"
    if "anyio_backend" in request.fixturenames:
        backend = request.getfixturevalue("anyio_backend")
        name = backend if isinstance(backend, str) else backend[0]
        if name == "asyncio":
            return "anyio"
        pytest.fail(
            f"{request.fixturename} runs on asyncio, this test on {name}: let the fixture anyio_backend "
            'return "asyncio"',
            pytrace=False,
        )
    pytest.fail(
        f"{request.fixturename} needs an async test that a plugin runs: {_how_to_run(request.config)}",
        pytrace=False,
    )


def _how_to_run(config: pytest.Config) -> str:
    """Return what to write so that a plugin runs the test."""
    if config.pluginmanager.has_plugin(_FOR_ASYNCIO):
        return (
            'write asyncio_mode = "auto" below [tool.pytest.ini_options] in pyproject.toml, or '
            "@pytest.mark.asyncio above the test, since pytest-asyncio is in strict mode; a synchronous test "
            "cannot use the fixture"
        )
    return (
        "mark it with @pytest.mark.anyio, or install pytest-asyncio 0.24 or later and write "
        'asyncio_mode = "auto" below [tool.pytest.ini_options] in pyproject.toml'
    )


def _ini(config: pytest.Config, name: str) -> str:
    try:
        return str(config.getini(name))
    except (KeyError, ValueError):  # an older pytest-asyncio has no such option
        return ""


def _module(name: str, decorate: Mapping[str, Callable[..., Callable[[_Fixture], object]]]) -> ModuleType:
    """Return a plugin with the hidden fixtures, once per runner."""
    module = ModuleType(name, "Hidden fixtures of nexmo_dispatch_async.pytest_plugin.")
    for runner, decorator in decorate.items():
        for fixture, function in _fixtures().items():
            hidden = f"_dispatch_{fixture}_in_{runner}"
            setattr(module, hidden, decorator(name=hidden)(function))
    return module


# ---- setup


def _simulator(request: pytest.FixtureRequest) -> Simulator:
    from dataclasses import fields

    from nexmo_dispatch_async.simulator import Settings, Simulator

    config = request.config
    seed, file = _ini(config, "dispatch_seed"), _ini(config, "dispatch_config")
    given: dict[str, Any] = {}
    if seed:
        given["seed"] = int(seed) if seed.isdecimal() else seed
    if file:
        given["config"] = (config.inipath.parent if config.inipath else config.rootpath) / file
    for marker in reversed(list(request.node.iter_markers(_MARKER))):  # the closest marker wins
        given.update(marker.kwargs)
        if isinstance(marker.kwargs.get("config"), str):
            given["config"] = request.path.parent / marker.kwargs["config"]
    switches = {field.name for field in fields(Settings)} & given.keys()
    if switches:
        given["settings"] = Settings(**{name: given.pop(name) for name in switches})
    return Simulator(**given)


async def _serve(stack: AsyncExitStack, sim: Simulator, router: Router, settings: Mapping[str, Any]) -> str:
    from aiohttp import web

    from nexmo_dispatch_webhooks.aiohttp import setup

    app, given = web.Application(), dict(settings)
    given.setdefault("clock", sim.timestamp)
    if "verification" not in given:
        given.setdefault("secrets", {sim.api_key: sim.signature_secret})
    setup(app, router, **given)
    runner = web.AppRunner(app, access_log=None)
    stack.push_async_callback(runner.cleanup)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return f"http://127.0.0.1:{runner.addresses[0][1]}{settings.get('path', '/webhooks')}"


# ---- hooks


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the ini file."""
    parser.addini("dispatch_seed", "seed of dispatch_simulator (default: ids of 0, new secrets)", default="")
    parser.addini(
        "dispatch_config", "configuration file of dispatch_simulator, relative to the ini file", default=""
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and the fixtures for anyio, which is a dependency of this package."""
    config.addinivalue_line(
        "markers",
        f"{_MARKER}(**settings): for the fixture dispatch_simulator, arguments of "
        "nexmo_dispatch_async.simulator.Simulator and its Settings by name",
    )
    config.pluginmanager.register(
        _module("nexmo_dispatch_anyio", {"anyio": pytest.fixture}), "nexmo-dispatch-anyio"
    )


def pytest_plugin_registered(plugin: object, manager: pytest.PytestPluginManager) -> None:
    """Register the fixtures for pytest-asyncio if it is installed, before or after this plugin."""
    if getattr(plugin, "__name__", "") != "pytest_asyncio.plugin" or manager.has_plugin(_FOR_ASYNCIO):
        return
    import pytest_asyncio

    def decorator(scope: _LoopScope) -> Callable[..., Callable[[_Fixture], object]]:
        def named(name: str) -> Callable[[_Fixture], object]:
            return pytest_asyncio.fixture(loop_scope=scope, name=name)

        return named

    try:
        module = _module("nexmo_dispatch_asyncio", {scope: decorator(scope) for scope in _LOOP_SCOPES})
    except TypeError:  # pytest-asyncio before 0.24 has no loop_scope; a fixture then names that version
        return
    manager.register(module, _FOR_ASYNCIO)


@pytest.hookimpl(hookwrapper=True)  # `wrapper=True` requires pluggy 1.2 and would break older pytest
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, None]:
    """Report a failed test without our own lines, and with the timeline unless its message has one."""
    if call.excinfo is not None and not item.config.getoption("fulltrace", default=False):
        _hide_our_lines(call.excinfo)
    report: pytest.TestReport = (yield).get_result()
    if report.failed and report.when == "call" and _SIMULATOR in item.stash:
        from nexmo_dispatch_async.simulator.assertions import HEADING, timeline

        if call.excinfo is not None and HEADING in str(call.excinfo.value):
            return

        report.sections.append(("dispatch_simulator", timeline(item.stash[_SIMULATOR])))


def _hide_our_lines(excinfo: pytest.ExceptionInfo[BaseException]) -> None:
    """End the traceback of an error of ours at the call in the test, which its message explains."""
    if not type(excinfo.value).__module__.startswith(_PACKAGES):
        return
    links = list[TracebackType]()
    link: TracebackType | None = excinfo.tb
    while link is not None:
        if not str(link.tb_frame.f_globals.get("__name__", "")).startswith(_PACKAGES):
            links.append(link)
        link = link.tb_next
    # A new chain, since pytest goes back to the original links when it leaves its own lines out.
    shown: TracebackType | None = None
    for each in reversed(links):
        shown = TracebackType(shown, each.tb_frame, each.tb_lasti, each.tb_lineno)
    if shown is not None:
        excinfo.traceback = type(excinfo.traceback)(shown)
