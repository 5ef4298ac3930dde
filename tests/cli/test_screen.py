"""The screen: nothing that a customer, a server or a file says reaches the terminal as a command to it."""

import ast
import asyncio
import io
import json
import logging
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from rich.console import Console
from typer.testing import CliRunner

from nexmo_dispatch_async.cli import listen, screen
from nexmo_dispatch_async.cli.app import app
from nexmo_dispatch_async.cli.scenarios import SCENARIOS
from nexmo_dispatch_async.cli.screen import ScreenHandler, printable, show
from nexmo_dispatch_async.cli.timeline import Timeline
from nexmo_dispatch_async.models.responses import Dispatch
from nexmo_dispatch_webhooks import Event, MessageStatus, Receiver, Router, parse_event
from nexmo_dispatch_webhooks.inbox import HandlerRetryPolicy, SqliteInbox
from nexmo_dispatch_webhooks.testing import WebhookClient, inbound_body, report_body, status_body
from tests.support.paths import REQUESTS

CLI = Path(screen.__file__).parent
PRINTS = re.compile(r"print|.*(\.print|\.echo|stdout\.write|stderr\.write)", re.DOTALL)
#: ESC, C0, C1 (CSI as one letter), a line of its own in three ways, an override of the direction.
HOSTILE = "\x1b[2J\x07\x9b31m\r\nFAKE\x85\u2028\u202eline [bold]"
GOOD = REQUESTS / "sms_text.json"


def is_harmless(page: str) -> bool:
    return all(letter.isprintable() or letter == "\n" for letter in page)


def command(*arguments: str | Path, **environment: str) -> str:
    """What a command prints, on both outputs."""
    done = CliRunner().invoke(app, [*map(str, arguments)], env=environment)
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.output


@pytest.fixture
async def server() -> AsyncIterator[str]:
    """Gives tokens, and answers everything else in hostile words; its URL."""

    async def answer(request: web.Request) -> web.Response:
        if "token" in request.path:
            return web.json_response({"access_token": "t", "expires_in": 3600, "token_type": "Bearer"})
        if "accepted" in request.path:
            return web.json_response({"dispatch_uuid": HOSTILE}, status=202)
        return web.json_response({"type": HOSTILE, "title": HOSTILE, "detail": HOSTILE}, status=422)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An inbox with a hostile message, a hostile body that is no JSON, and a handler that fails."""
    path, router = tmp_path / "inbox.db", Router()

    @router.inbound_message(name=f"answer {HOSTILE}")
    async def bad(event: Event) -> None:
        raise type(f"Error{HOSTILE}", (Exception,), {})

    async def fill() -> None:
        inbox = SqliteInbox(path, retry=HandlerRetryPolicy(attempts=1))
        async with (
            Receiver(router, secrets={"k": "secret"}, inbox=inbox) as receiver,
            WebhookClient(receiver, secrets={"k": "secret"}, raise_failures=False) as client,
        ):
            body = inbound_body(HOSTILE, from_="447700900321")
            await client.post(json.dumps(body, ensure_ascii=False, indent=2).encode())
            await client.post(HOSTILE.encode() + b"\xff")

    asyncio.run(fill())
    return path


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 你 🙂 \\", "plain é 你 🙂 \\"),
        ("\x1b[31m\x07\x00", r"\u001b[31m\u0007\u0000"),
        ("\x9b\x85\xa0", r"\u009b\u0085\u00a0"),
        ("a\r\nb\nc\td", r"a\r\nb\nc\td"),
        ("\u2028\u2029\u202e\u2066\u200b\ufeff", r"\u2028\u2029\u202e\u2066\u200b\ufeff"),
        ("\ud800 \U000e0001", r"\ud800 \udb40\udc01"),
    ],
)
def test_what_a_terminal_would_act_on_is_escaped(text: str, shown: str) -> None:
    """As JSON writes it; letters of all languages stay."""
    assert printable(text) == shown


def test_a_text_of_several_lines_keeps_its_lines() -> None:
    """And its tabs; a lone carriage return would overwrite what stands before it."""
    assert printable("a\r\nb\n\tc\rd\x1b", lines=True) == "a\nb\n\tc\\rd\\u001b"


def test_escaped_json_is_the_same_json() -> None:
    """So what `inbox show --plain` prints can be read by programs."""
    body = {"text": "\u202e \u200d \x7f \U000e0001", "more": ["é"]}

    assert json.loads(printable(json.dumps(body, ensure_ascii=False, indent=2), lines=True)) == body


def test_letters_that_the_terminal_lacks_are_escapes() -> None:
    """A terminal without UTF-8 ends no command."""
    page = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")

    show("é → ", ("🙂", "green"), to=Console(file=page))

    page.seek(0)
    assert page.read() == "é \\u2192 \\U0001f642\n"


def test_no_other_module_of_the_command_prints() -> None:
    """`print`, a console's `print`, `typer.echo`, and writing to the outputs are for `screen` alone."""
    modules = {path.name: path.read_text("utf-8") for path in CLI.glob("*.py") if path.name != "screen.py"}
    printing = [
        (module, node.lineno)
        for module, text in modules.items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and PRINTS.fullmatch(ast.unparse(node.func))
    ]

    assert len(modules) > 30
    assert printing == []


def test_inbox_shows_hostile_texts_harmlessly(file: Path) -> None:
    """`list`, and `show` with and without `--plain`; the words are still there."""
    pages = [
        command("inbox", "list", file),
        command("inbox", "show", file, "1"),
        command("inbox", "show", file, "2"),
        command("inbox", "show", file, "1", "--plain"),
        command("inbox", "show", file, "2", "--plain"),
    ]

    assert all(map(is_harmless, pages))
    assert r"answer \u001b[2J" in pages[0]
    assert r"\u202eline [bold]" in pages[3]
    assert pages[4].splitlines()[-2:] == [
        r"\u001b[2J\u0007\u009b31m",
        r"FAKE\u0085\u2028\u202eline [bold]\xff",
    ]


async def test_send_shows_hostile_answers_harmlessly(server: str) -> None:
    """A refusal, and an acceptance whose dispatch_uuid is none."""
    for path in ("refused", "accepted"):
        page = await asyncio.to_thread(
            command,
            "send",
            GOOD,
            NEXMO_DISPATCH_CLIENT_ID="id",
            NEXMO_DISPATCH_CLIENT_SECRET="secret",
            NEXMO_DISPATCH_APPLICATION_ID="a",
            NEXMO_DISPATCH_BASE_URL=f"{server}/{path}",
            NEXMO_DISPATCH_TOKEN_URL=f"{server}/token",
        )
        assert page.strip()
        assert is_harmless(page)


async def test_replay_shows_hostile_answers_harmlessly(server: str, tmp_path: Path) -> None:
    """And a file whose name is hostile."""
    body = tmp_path / "body.json"
    body.write_text(json.dumps(status_body("read")), "utf-8")

    page = await asyncio.to_thread(command, "replay", body, "--to", f"{server}/webhooks")
    missing = await asyncio.to_thread(command, "replay", tmp_path / f"x{HOSTILE}", "--to", server)

    assert "422 (" in page
    assert "FAKE" in page
    assert "FAKE" in missing
    assert is_harmless(page)
    assert is_harmless(missing)


async def test_listen_and_demo_show_hostile_events_harmlessly() -> None:
    """Every kind of event, where a callback may say what it likes; one line each."""
    bodies = [
        status_body(HOSTILE, error={"code": 1300, "reason": HOSTILE}, message_uuid=HOSTILE),
        inbound_body(content={"type": HOSTILE}, from_=f"44{HOSTILE}", message_uuid=HOSTILE),
        report_body(HOSTILE, dispatch_uuid=HOSTILE),
        {HOSTILE: HOSTILE},
    ]
    page = io.StringIO()
    console = Console(file=page, highlight=False)
    router = listen.printer(console)
    router.freeze()

    for body in bodies:
        await router.dispatch(parse_event(json.dumps(body)))
    lines = page.getvalue().count("\n")
    status = parse_event(json.dumps(bodies[0]))
    assert isinstance(status, MessageStatus)
    assert status.timestamp is not None
    timeline = Timeline(console, status.timestamp, SCENARIOS[0].workflow)
    timeline.sent(Dispatch(HOSTILE))
    timeline.status(status)

    assert lines == len(bodies)
    assert page.getvalue().count("\n") == len(bodies) + 3
    assert is_harmless(page.getvalue())


def test_what_libraries_log_is_printed_harmlessly(capsys: pytest.CaptureFixture[str]) -> None:
    """The receiver names the account that a token claims; a stranger wrote it."""
    log, handler = logging.getLogger("tests.screen"), ScreenHandler()
    log.addHandler(handler)

    log.warning("refused %s", HOSTILE)
    log.info("not worth a line")
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        log.exception("failed")

    log.removeHandler(handler)
    page = capsys.readouterr().err
    assert "refused \\u001b[2J" in page
    assert "Traceback" in page
    assert "not worth" not in page
    assert is_harmless(page)


def test_an_exception_that_nothing_catches_is_printed_harmlessly() -> None:
    """By `main`, in a process of its own."""
    program = (
        "import sys\n"
        "from nexmo_dispatch_async.cli import demo, main\n"
        "async def run(*_):\n"
        f"    raise LookupError({HOSTILE!r})\n"
        "demo.run = run; sys.argv = ['nexmo-dispatch', 'demo']; main()\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, encoding="utf-8", timeout=60, check=False
    )

    assert done.returncode == 1
    assert "LookupError: \\u001b[2J" in done.stderr
    assert is_harmless(done.stderr)
