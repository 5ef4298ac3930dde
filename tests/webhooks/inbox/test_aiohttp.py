"""An inbox behind the aiohttp adapter, over a real socket: its life, its answers, and what probes see."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from yarl import URL

from nexmo_dispatch_webhooks import ConfigurationError, Context, MessageStatus, Receiver, Router
from nexmo_dispatch_webhooks.aiohttp import RECEIVERS, setup
from nexmo_dispatch_webhooks.inbox import MemoryInbox, SqliteInbox
from tests.webhooks.payloads import encode, status_body

BODY = encode(status_body())
JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with ClientSession() as made:
        yield made


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    servers: list[TestServer] = []

    async def run(router: Router, **settings: Any) -> tuple[TestServer, Receiver]:
        app = web.Application()
        values = {"inbox": tmp_path / "inbox.db", "verification": None, "health_path": "/health", **settings}
        receiver = setup(app, router, **values)
        servers.append(TestServer(app))
        await servers[-1].start_server()
        return servers[-1], receiver

    yield run
    for server in servers:
        await server.close()


async def test_the_answer_comes_before_the_handler(
    serve: Any, session: ClientSession, tmp_path: Path
) -> None:
    """200 means stored; the application drains the inbox when it ends."""
    router, gate, seen = Router(), asyncio.Event(), []

    @router.message_status()
    async def slow(event: MessageStatus) -> None:
        await gate.wait()
        seen.append(event.message_uuid)

    server, receiver = await serve(router)
    async with session.post(server.make_url("/webhooks"), data=BODY, headers=JSON) as answer:
        assert answer.status == 200
    assert seen == []
    async with session.get(server.make_url("/health")) as answer:
        health = await answer.json()
    assert (answer.status, health["ready"], health["inbox"]["pending"]) == (200, True, 1)
    assert isinstance(receiver.inbox, SqliteInbox)

    gate.set()
    await server.close()

    assert len(seen) == 1
    db = sqlite3.connect(tmp_path / "inbox.db")
    assert db.execute("SELECT state FROM events").fetchall() == [(2,)]
    db.close()


async def test_a_full_inbox_answers_503(serve: Any, session: ClientSession) -> None:
    """So that the service repeats it (contract 5.10); the readiness probe is about storing, and stays."""
    router, gate = Router(), asyncio.Event()

    @router.message_status()
    async def slow(event: MessageStatus) -> None:
        await gate.wait()

    server, _ = await serve(router, inbox=MemoryInbox(max_pending=1))
    statuses = []
    for number in range(2):
        body = encode(status_body(message_uuid=f"m{number}"))
        async with session.post(server.make_url("/webhooks"), data=body, headers=JSON) as answer:
            statuses.append(answer.status)
    gate.set()

    assert statuses == [200, 503]


async def test_probes(serve: Any, session: ClientSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alive is always 200; ready is 503 while nothing can be stored."""
    server, receiver = await serve(Router(), health_path="/probe/")

    async def ask(path: str) -> tuple[int, bool]:
        async with session.get(server.make_url(path)) as answer:
            return answer.status, (await answer.json())["ready"]

    assert await ask("/probe") == (200, True)
    assert await ask("/probe/ready") == (200, True)
    receiver.inbox._storing = False
    assert await ask("/probe") == (200, False)
    assert await ask("/probe/ready") == (503, False)


async def test_probes_without_an_inbox(serve: Any, session: ClientSession) -> None:
    server, _ = await serve(Router(), inbox=None)

    async with session.get(server.make_url("/health/ready")) as answer:
        assert (answer.status, (await answer.json())["ready"]) == (200, True)


class Pool:
    """What handlers use; the application opens it after `setup`, as applications do."""

    def __init__(self) -> None:
        self.log: list[str] = []

    async def live(self, app: web.Application) -> AsyncIterator[None]:
        self.log.append("open")
        yield
        self.log.append("closed")


def application(path: Path, pool: Pool, *, handle: Callable[[], Awaitable[object]]) -> web.Application:
    router, app = Router(), web.Application()

    @router.message_status()
    async def use(event: MessageStatus) -> None:
        await handle()
        pool.log.append(f"handled {event.message_uuid}")

    setup(app, router, verification=None, inbox=SqliteInbox(path, drain=0))
    app.cleanup_ctx.append(pool.live)
    return app


async def test_handlers_run_only_while_the_rest_of_the_application_does(
    session: ClientSession, tmp_path: Path
) -> None:
    """Left-over events after all cleanup contexts have started, and the drain before the first one ends."""
    pool, gate = Pool(), asyncio.Event()
    body = encode(status_body(message_uuid="m1"))

    async with TestServer(application(tmp_path / "i.db", pool, handle=gate.wait)) as server:
        await session.post(server.make_url("/webhooks"), data=body, headers=JSON)  # no handler runs in time
    before, pool.log = pool.log, []

    server = TestServer(application(tmp_path / "i.db", pool, handle=lambda: asyncio.sleep(0)))
    await server.start_server()
    inbox = server.app[RECEIVERS]["/webhooks"].inbox
    assert isinstance(inbox, SqliteInbox)
    await inbox.idle()
    await session.post(
        server.make_url("/webhooks"), data=encode(status_body(message_uuid="m2")), headers=JSON
    )
    await server.close()

    assert before == ["open", "closed"]
    assert pool.log == ["open", "handled m1", "handled m2", "closed"]


class SlowStore(MemoryInbox):
    """Says when it is asked to store, and waits; notes when it ends."""

    def __init__(self, log: list[str]) -> None:
        super().__init__()
        self.log, self.asked, self.gate = log, asyncio.Event(), asyncio.Event()

    async def put(self, *args: Any) -> None:
        self.asked.set()
        await self.gate.wait()
        await super().put(*args)
        self.log.append("stored")

    async def aclose(self) -> None:
        self.log.append("drained")
        await super().aclose()


async def test_requests_that_are_under_way_at_the_end(session: ClientSession) -> None:
    """What is being stored gets its 200; a body that is still to come gets 503 at once.

    From its shutdown on aiohttp reads no more of a body, and a 408 could be taken as final.
    """
    pool = Pool()
    app, inbox = web.Application(), SlowStore(pool.log)
    setup(app, Router(), verification=None, inbox=inbox)
    app.cleanup_ctx.append(pool.live)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    storing = asyncio.create_task(session.post(f"http://{host}:{port}/webhooks", data=BODY, headers=JSON))
    await inbox.asked.wait()
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"POST /webhooks HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n{")
    await reader.readuntil(b"\r\n\r\n")

    ending = asyncio.create_task(runner.cleanup())
    cut_off = await reader.read()
    writer.close()
    inbox.gate.set()
    stored = await storing
    await ending

    assert cut_off.startswith(b"HTTP/1.1 503 ")
    assert stored.status == 200
    assert pool.log == ["open", "stored", "drained", "closed"]


async def test_a_start_that_fails_elsewhere_ends_the_inbox(tmp_path: Path) -> None:
    """Also when it comes after the inbox had started; no thread and no file is left open."""
    app = application(tmp_path / "i.db", Pool(), handle=lambda: asyncio.sleep(0))

    async def fail(_: web.Application) -> None:
        raise LookupError

    app.on_startup.append(fail)
    runner = web.AppRunner(app)

    with pytest.raises(LookupError):
        await runner.setup()
    await runner.cleanup()

    assert app[RECEIVERS]["/webhooks"].health()["inbox"]["state"] == "closed"


async def test_an_inbox_that_fails_to_end_does_not_keep_the_rest_open() -> None:
    """Its exception comes after all cleanup."""

    class Stubborn(MemoryInbox):
        async def aclose(self) -> None:
            await super().aclose()
            raise OSError("no")

    app, pool = web.Application(), Pool()
    setup(app, Router(), verification=None, inbox=Stubborn())
    app.cleanup_ctx.append(pool.live)
    runner = web.AppRunner(app)
    await runner.setup()

    with pytest.raises(OSError, match="no"):
        await runner.cleanup()

    assert pool.log == ["open", "closed"]


async def test_an_inbox_that_cannot_be_opened_stops_the_start(serve: Any, tmp_path: Path) -> None:
    """Not the first callback."""
    with pytest.raises(Exception, match="cannot be created: there is no such folder"):
        await serve(Router(), inbox=str(tmp_path / "missing" / "inbox.db"))


def test_what_is_no_inbox_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="inbox takes a path, None, or an object with"):
        Receiver(Router(), verification=None, inbox=object())  # type: ignore[arg-type]  # the point of the test


@pytest.mark.parametrize(
    ("mount", "posted", "path"),
    [
        ("/hooks", "/hooks", ""),
        ("/hooks", "/hooks/", ""),
        ("/hooks", "/hooks/a/b", "a/b"),
        ("/hooks", "/hooks/a%2Fb%25c%20d", "a/b%c d"),
        ("/hooks", "/hooksandmore", None),
        ("/hooks", "/", None),
        ("/", "/", ""),
        ("/", "/a/b", "a/b"),
        ("/{team}/hooks", "/red/hooks", ""),
        ("/{team}/hooks", "/red/hooks/a", "a"),
    ],
)
async def test_a_mount_takes_its_path_and_what_is_below(
    serve: Any, session: ClientSession, mount: str, posted: str, path: str | None
) -> None:
    """Also at the root, below a pattern of the application's, and with escapes in the path."""
    router, seen = Router(), list[str | None]()

    @router.message_status()
    async def note(event: MessageStatus, context: Context) -> None:
        seen.append(context.path)

    server, _ = await serve(router, inbox=None, path=mount, health_path=None)
    url = URL(str(server.make_url("/")).rstrip("/") + posted, encoded=True)
    async with session.post(url, data=BODY, headers=JSON) as answer:
        status = answer.status

    assert (status, seen) == ((404, []) if path is None else (200, [path]))
