"""`nexmo-dispatch replay` against a receiver on a real socket."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from typer.testing import CliRunner

from nexmo_dispatch_async.cli import replay
from nexmo_dispatch_async.cli.app import app
from nexmo_dispatch_async.cli.recording import Recorded
from nexmo_dispatch_async.cli.replay import Plan
from nexmo_dispatch_webhooks import Context, Event, Router
from nexmo_dispatch_webhooks.aiohttp import setup
from nexmo_dispatch_webhooks.testing import report_body, status_body

SECRETS = {"k": "secret"}
ITEMS = [Recorded(b"1", at=100.0), Recorded(b"2", at=104.0), Recorded(b"3", at=102.0)]


class Target:
    """A receiver, and the kinds and paths of what reached its handlers."""

    def __init__(self) -> None:
        self.url = ""
        self.seen: list[tuple[str, str]] = []


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    """A receiver that checks signatures."""
    target, router = Target(), Router()

    @router.register()
    async def keep(event: Event, context: Context) -> None:
        target.seen.append((event.kind, context.path))

    application = web.Application()
    setup(application, router, secrets=SECRETS)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    target.url = f"http://127.0.0.1:{runner.addresses[0][1]}/webhooks"
    yield target
    await runner.cleanup()


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A status and a report, a hundredth of a second apart."""
    file = tmp_path / "recording"
    lines = [
        {"at": 1000.0, "path": "status", "body": status_body()},
        {"at": 1000.01, "path": "", "body": report_body()},
    ]
    file.write_text("\n".join(map(json.dumps, lines)))
    return file


async def test_posts_signed_in_order(
    target: Target, recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """To the paths of the recording; 0 when every answer was 2xx."""
    code = await replay.run(recording, target.url, SECRETS, Plan(speed=1.0))

    assert code == 0
    assert target.seen == [("message-status", "status"), ("final-report", "")]
    out = capsys.readouterr().out
    assert out.startswith("posted 2 callbacks in ")
    assert "unsigned" not in out
    assert "  200: 2\n" in out


async def test_ends_with_1_when_something_was_refused(
    target: Target, recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without secrets: the summary says that they were unsigned, and how many were answered what."""
    code = await replay.run(recording, target.url, None, Plan())

    assert (code, target.seen) == (1, [])
    out = capsys.readouterr().out
    assert out.startswith("posted 2 unsigned callbacks in ")
    assert "  503 (the Authorization header is missing): 2" in out


async def test_a_redirect_is_an_answer(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The summary shows it as it is: the service follows none."""

    async def moved(request: web.Request) -> web.Response:
        return web.Response(status=308, text="<p>moved\n to /hooks/</p>" if "status" in request.path else "")

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", moved)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()

    code = await replay.run(recording, f"http://127.0.0.1:{runner.addresses[0][1]}", SECRETS, Plan())
    await runner.cleanup()

    assert code == 1
    assert "  308: 1\n  308 (<p>moved to /hooks/</p>): 1\n" in capsys.readouterr().out


async def test_ends_with_1_without_a_receiver(
    recording: Path, hold_port: Callable[[], int], capsys: pytest.CaptureFixture[str]
) -> None:
    port = hold_port()
    code = await replay.run(recording, f"http://127.0.0.1:{port}/", SECRETS, Plan())

    assert code == 1
    refused = f"127.0.0.1 port {port} refused the connection"
    assert f"  no answer ({refused}: does the receiver listen there?): 2\n" in capsys.readouterr().out


async def test_says_what_else_kept_it_from_an_answer(
    recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A receiver that hangs up, for instance."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        code = await replay.run(recording, f"http://127.0.0.1:{port}/", SECRETS, Plan())

    assert code == 1
    assert f"  no answer ({aiohttp.ServerDisconnectedError.__name__}): 2\n" in capsys.readouterr().out


async def test_ends_with_1_without_a_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = await replay.run(tmp_path, "http://127.0.0.1:1/", None, Plan())

    assert code == 1
    assert "holds no callbacks" in capsys.readouterr().err


def test_speed_keeps_the_pauses() -> None:
    """Twice as fast, ordered by time; without a speed everything is due at once, in the order of the file."""
    assert [(when, item.body) for when, item in Plan(speed=2.0).schedule(ITEMS)] == [
        (0.0, b"1"),
        (1.0, b"3"),
        (2.0, b"2"),
    ]
    assert [(when, item.body) for when, item in Plan().schedule([*ITEMS, Recorded(b"4")])] == [
        (0.0, b"1"),
        (0.0, b"2"),
        (0.0, b"3"),
        (0.0, b"4"),
    ]


def test_duplicate_and_shuffle() -> None:
    """Each twice; the moments stay when the callbacks change places; one seed, one order."""
    twice = Plan(duplicate=True).schedule(ITEMS)
    mixed = Plan(speed=1.0, shuffle=True, duplicate=True, seed=7).schedule(ITEMS)

    assert [item.body for _, item in twice] == [b"1", b"1", b"2", b"2", b"3", b"3"]
    assert [when for when, _ in mixed] == [0.0, 0.0, 2.0, 2.0, 4.0, 4.0]
    assert sorted(item.body for _, item in mixed) == sorted(item.body for _, item in twice)
    assert mixed == Plan(speed=1.0, shuffle=True, duplicate=True, seed=7).schedule(ITEMS)
    assert mixed != Plan(speed=1.0, shuffle=True, duplicate=True, seed=8).schedule(ITEMS)


def test_command_line(tmp_path: Path) -> None:
    """The options reach the plan; a target that is no URL is refused."""
    (tmp_path / "a.json").write_bytes(b"{}")

    wrong = CliRunner().invoke(app, ["replay", str(tmp_path), "--to", "localhost"])
    refused = CliRunner().invoke(
        app,
        [
            "replay",
            str(tmp_path),
            "--to",
            "http://127.0.0.1:1",
            "--secret",
            "k=s",
            "--duplicate",
            "--shuffle",
        ],
    )

    assert (wrong.exit_code, refused.exit_code) == (2, 1)
    assert "posted 2 callbacks" in refused.stdout


async def test_callbacks_to_another_machine_over_http_are_noted(
    recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They hold what customers wrote; a name that is not found is as good as a receiver here."""
    await replay.run(recording, "http://receiver.invalid/webhooks", SECRETS, Plan())

    assert "sent unencrypted to receiver.invalid" in capsys.readouterr().err
