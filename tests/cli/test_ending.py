"""`listen` and `simulate` end in good order at SIGINT and SIGTERM, and a killed `listen` can start again.

Most tests run the command in this process; those that kill it, or that need two processes, start one.
"""

import asyncio
import itertools
import os
import re
import shlex
import signal
import sqlite3
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from nexmo_dispatch_async import DispatchClient, Workflow, sms
from nexmo_dispatch_async.cli import listen
from nexmo_dispatch_webhooks import InboxError, Receiver, Router
from nexmo_dispatch_webhooks.inbox import SqliteInbox, sqlite_claim
from tests.support.commands import BOUND_S, serving
from tests.webhooks.inbox.support import new_record, status_bytes

COMMAND = (sys.executable, "-m", "nexmo_dispatch_async.cli")
LISTEN = ("listen", "--port", "0", "--no-verification")
SIMULATE = ("simulate", "--port", "0")
# The ways to end that `make test` tries in a process: each command, each signal, with `&` and without.
ALONE = [(LISTEN, signal.SIGTERM, False), (SIMULATE, signal.SIGINT, True)]
WORKFLOW = Workflow.failover(sms.text("Hi", from_="31647356950", to="999000000001"))


class Running:
    """A command in a process of its own; its output is read as it comes."""

    def __init__(self, process: asyncio.subprocess.Process, pid: int) -> None:
        self.process = process
        self.pid = pid
        self.lines: list[str] = []

    async def until(self, pattern: str) -> str:
        """Read lines until one matches; return its first group."""
        assert self.process.stdout is not None
        async with asyncio.timeout(BOUND_S):
            while True:
                line = (await self.process.stdout.readline()).decode()
                assert line, self.lines
                self.lines.append(line.rstrip())
                if found := re.search(pattern, line):
                    return found[1] if found.groups() else line

    async def signalled(self, number: signal.Signals) -> int:
        """Send a signal; return the exit code."""
        os.kill(self.pid, number)
        return await self.ended()

    async def ended(self) -> int:
        async with asyncio.timeout(BOUND_S):
            return await self.process.wait()


@asynccontextmanager
async def running(*arguments: str, in_background: bool = False) -> AsyncGenerator[Running]:
    """Start a command, as a script does with `&` if so wanted; its output and its errors come together."""
    command = shlex.join([*COMMAND, *arguments])
    script = f"{command} & echo pid $!; wait $!; exit $?" if in_background else f"exec {command}"
    process = await asyncio.create_subprocess_exec(
        "sh",
        "-c",
        script,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "300"},
    )
    started = Running(process, process.pid)
    try:
        if in_background:
            started.pid = int(await started.until(r"pid (\d+)"))
        yield started
    finally:
        if process.returncode is None:
            os.kill(started.pid, signal.SIGKILL)
            await process.wait()


async def connected(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    port = int(url.rsplit(":", 1)[1].split("/", maxsplit=1)[0])
    return await asyncio.open_connection("127.0.0.1", port)


def head(body: bytes) -> bytes:
    return (
        b"POST /webhooks HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    )


async def post(url: str, body: bytes) -> bytes:
    reader, writer = await connected(url)
    writer.write(head(body) + body)
    answer = await reader.read()
    writer.close()
    return answer


@pytest.fixture(params=[False, True], ids=["foreground", "background"])
def in_background(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Ignore SIGINT, as in the background of a script, or leave it to the command."""
    before = signal.getsignal(signal.SIGINT)
    if request.param:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield request.param
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("in_background")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("arguments", [LISTEN, SIMULATE], ids=["listen", "simulate"])
async def test_both_signals_end_it_with_0(arguments: tuple[str, ...], number: signal.Signals) -> None:
    """Also where SIGINT is ignored when the command starts; afterwards the signals are what they were."""
    before = signal.getsignal(number)
    async with serving(*arguments) as command:
        await command.until("Ctrl-C ends")

        assert await command.signalled(number) == 0
    assert signal.getsignal(number) == before


@pytest.mark.parametrize(
    ("arguments", "number", "in_background"),
    [
        pytest.param(
            *case, marks=[pytest.mark.long] * (case not in ALONE), id=f"{case[0][0]}-{case[1]}-{case[2]}"
        )
        for case in itertools.product([LISTEN, SIMULATE], [signal.SIGINT, signal.SIGTERM], [False, True])
    ],
)
async def test_both_signals_end_a_process_with_0(
    arguments: tuple[str, ...], number: signal.Signals, *, in_background: bool
) -> None:
    """The same from a shell, `&` included."""
    async with running(*arguments, in_background=in_background) as command:
        await command.until("Ctrl-C ends")

        assert await command.signalled(number) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_listen_prints_what_it_has_stored_and_takes_no_more(
    tmp_path: Path, number: signal.Signals
) -> None:
    """What was answered with 200 is handled; what has not arrived whole is to come again."""
    inbox = tmp_path / "inbox.db"
    async with serving(*LISTEN, "--inbox", str(inbox)) as command:
        url = await command.until(r"(http://\S+)")
        reader, writer = await connected(url)
        writer.write(head(status_bytes(0)))
        answers = await asyncio.gather(*(post(url, status_bytes(number)) for number in range(1, 101)))
        ending = asyncio.create_task(command.signalled(number))
        await command.until(f"{number.name}: ending")

        assert {answer.split(b" ")[1] for answer in answers} == {b"200"}
        assert (await reader.read()).startswith(b"HTTP/1.1 503")
        writer.close()
        assert await ending == 0
        with pytest.raises(OSError, match="Connect"):
            await connected(url)
    assert states(inbox) == {2: 100}


@pytest.mark.parametrize("times", [pytest.param(1, marks=pytest.mark.long), 2])
async def test_a_second_signal_ends_it_at_once(times: int) -> None:
    """The first lets simulate wait for the answers to its callbacks, for two seconds; the second does not."""
    called, over = asyncio.Event(), asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        called.set()
        await over.wait()
        writer.close()

    async with (
        await asyncio.start_server(hang, "127.0.0.1", 0) as server,
        running(*SIMULATE, "--speed", "1000", "--callback-url", where(server)) as command,
    ):
        await command.until("callbacks go to")
        exports = [line.removeprefix("export ") for line in command.lines if line.startswith("export ")]
        async with DispatchClient.from_env(dict(line.split("=", 1) for line in exports)) as client:
            await client.send(WORKFLOW)
            async with asyncio.timeout(BOUND_S):
                await called.wait()
        os.kill(command.pid, signal.SIGTERM)
        await command.until("SIGTERM: ending")

        if times == 2:
            assert await command.signalled(signal.SIGTERM) == -signal.SIGTERM
        else:
            assert await command.ended() == 0
        over.set()


def where(server: asyncio.Server) -> str:
    return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


async def test_a_killed_listen_takes_over_its_own_file(tmp_path: Path) -> None:
    """A container that is started again must not loop: what was left is printed first, and handled."""
    inbox = tmp_path / "inbox.db"
    async with running(*LISTEN, "--inbox", str(inbox)) as killed:
        url = await killed.until(r"(http://\S+)")
        assert (await post(url, status_bytes(1))).startswith(b"HTTP/1.1 200")
        assert await killed.signalled(signal.SIGKILL) == -signal.SIGKILL
    async with SqliteInbox(inbox) as left:  # of whose printing nothing is known
        await left.store.add(new_record(status_bytes(2)))

    async with serving(*LISTEN, "--inbox", str(inbox)) as again:
        await again.until("pending of a listen that was killed come first")
        url = await again.until(r"(http://\S+)")
        assert (await post(url, status_bytes(3))).startswith(b"HTTP/1.1 200")
        assert await again.signalled(signal.SIGTERM) == 0
    assert states(inbox) == {2: 3}


async def test_a_listen_starts_on_a_file_that_was_restored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its `-worker` is not the file that was locked last, and no process holds it."""
    for module in (listen, sqlite_claim):
        monkeypatch.setattr(module, "GRACE", 0.2)
    inbox = tmp_path / "inbox.db"
    async with serving(*LISTEN, "--inbox", str(inbox)) as first:
        await first.until("listening")
        assert await first.signalled(signal.SIGTERM) == 0
    (tmp_path / "inbox.db-worker").rename(tmp_path / "elsewhere")

    async with serving(*LISTEN, "--inbox", str(inbox)) as second:
        await second.until("listening")
        assert await second.signalled(signal.SIGTERM) == 0


async def test_a_second_listen_leaves_the_file_of_a_running_one(tmp_path: Path) -> None:
    """It ends with 1, whatever is pending."""
    inbox = tmp_path / "inbox.db"
    async with running(*LISTEN, "--inbox", str(inbox)) as first:
        await first.until("listening")
        async with serving(*LISTEN, "--inbox", str(inbox)) as second:
            await second.until("in use by a running listen")
            assert await second.task == 1
        assert await first.signalled(signal.SIGTERM) == 0


async def test_a_receiver_leaves_the_file_of_listen(tmp_path: Path) -> None:
    """Else `listen` prints, as handled, what the receiver stores while it waits for its turn."""
    async with serving(*LISTEN, "--inbox", str(tmp_path / "inbox.db")) as command:
        await command.until("listening")

        with pytest.raises(InboxError, match="belong to 'nexmo-dispatch listen' and not to 'receiver'"):
            async with Receiver(Router(), verification=None, inbox=SqliteInbox(tmp_path / "inbox.db")):
                pass
        assert await command.signalled(signal.SIGTERM) == 0


async def test_simulate_keeps_its_state_at_sigterm(tmp_path: Path) -> None:
    """The moment of its end is written, as with Ctrl-C."""
    state = tmp_path / "state.json"
    async with serving(*SIMULATE, "--state", str(state), "--speed", "1000") as command:
        await command.until("Ctrl-C ends")
        before = state.read_bytes()

        assert await command.signalled(signal.SIGTERM) == 0
    assert state.read_bytes() != before


def states(inbox: Path) -> dict[int, int]:
    """How many records there are by state; 2 is handled."""
    with sqlite3.connect(inbox) as db:
        rows: list[tuple[int, int]] = db.execute(
            "SELECT state, count(*) FROM events GROUP BY state"
        ).fetchall()
    db.close()
    return dict(rows)
