"""`nexmo-dispatch simulate`: its callbacks to receivers in other processes, and the files that it leaves."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import anyio
import pytest
from aiohttp import web
from typer.testing import CliRunner

from nexmo_dispatch_async import DispatchClient, Workflow, sms
from nexmo_dispatch_async.cli.app import app
from nexmo_dispatch_async.simulator import Simulator
from nexmo_dispatch_webhooks import FinalReport, MessageStatus, Router
from nexmo_dispatch_webhooks.aiohttp import setup
from tests.support.commands import serving

WORKFLOW = Workflow.failover(sms.text("Hi", from_="31647356950", to="999000000001"))


@asynccontextmanager
async def simulating(*options: str) -> AsyncIterator[tuple[dict[str, str], list[str]]]:
    """Run the command until the end of the block; yield the settings that it printed, and its other lines."""
    printed: dict[str, str] = {}
    comments: list[str] = []
    async with serving("simulate", "--port", "0", *options) as command:
        while not comments or not comments[-1].startswith("# callbacks go to"):
            line = await command.line()
            if not line.startswith("export"):
                comments.append(line)
                continue
            name, _, value = line.removeprefix("export NEXMO_DISPATCH_").partition("=")
            printed[name] = value
        yield printed, comments


async def send(printed: dict[str, str]) -> str:
    environ = {f"NEXMO_DISPATCH_{name}": value for name, value in printed.items()}
    async with DispatchClient.from_env(environ) as client:
        return (await client.send(WORKFLOW)).dispatch_uuid


async def run_and_send(*options: str) -> tuple[dict[str, str], str]:
    """Start the command, send a workflow, end it; return the settings it printed and the dispatch_uuid."""
    async with simulating(*options) as (printed, _):
        return printed, await send(printed)


@asynccontextmanager
async def receiving(router: Router) -> AsyncIterator[str]:
    """Serve a receiver that checks signatures by the real clock; tell its URL."""
    application, same = web.Application(), Simulator(seed=0)  # one seed, one account
    setup(application, router, secrets={same.api_key: same.signature_secret})
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/webhooks"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("speed", ["1", "60"])
async def test_receivers_accept_callbacks_of_any_virtual_time(speed: str) -> None:
    """Also a week ahead of real time, by which the receiver checks the age of signatures."""
    router, reported, seen = Router(), anyio.Event(), list[str]()

    @router.message_status()
    async def on_status(event: MessageStatus) -> None:
        seen.append(event.status)

    @router.final_report()
    async def on_report(event: FinalReport) -> None:
        reported.set()

    async with (
        receiving(router) as url,
        simulating("--seed", "0", "--speed", speed, "--callback-url", url) as (printed, comments),
        aiohttp.ClientSession() as session,
    ):
        control = printed["BASE_URL"].removesuffix("/communication/nexmo") + "/control/advance"
        async with session.post(control, json={"seconds": 7 * 24 * 3600}) as answer:
            assert answer.status == 200
        await send(printed)
        async with session.post(control, json={"seconds": 600}) as answer:
            assert answer.status == 200
        with anyio.fail_after(10):
            await reported.wait()

    assert seen == ["submitted", "delivered"]
    assert comments[-1] == f"# callbacks go to {url}"


async def test_callbacks_go_where_they_went_unless_told_otherwise(tmp_path: Path) -> None:
    """The application of --state keeps its URLs."""
    state = str(tmp_path / "state.json")

    async with simulating("--state", state, "--callback-url", "http://127.0.0.1:1/hooks") as (_, first):
        pass
    async with simulating("--state", state) as (_, again):
        pass

    assert first[-1] == again[-1] == "# callbacks go to http://127.0.0.1:1/hooks"


def test_a_callback_url_is_an_address() -> None:
    done = CliRunner().invoke(
        app, ["simulate", "--callback-url", "localhost:8080"], env={"COLUMNS": "200", "TERM": "dumb"}
    )

    assert done.exit_code == 2
    assert "Invalid value for --callback-url: must start with http:// or https://" in done.stderr


async def test_a_simulator_leaves_its_state_and_its_record(tmp_path: Path) -> None:
    """Programs under test need no new settings, and what happened can be read."""
    state, record = tmp_path / "state.json", tmp_path / "record.jsonl"

    first, sent = await run_and_send("--state", str(state), "--record", str(record))
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    second, sent_again = await run_and_send("--state", str(state), "--seed", "9")

    settings = ("CLIENT_ID", "CLIENT_SECRET", "SIGNATURE_SECRETS", "APPLICATION_ID")
    assert [first[name] for name in settings] == [second[name] for name in settings]
    assert sent != sent_again
    assert ("request", 202) in [(line["record"], line.get("status")) for line in lines]
    assert sent in [line.get("dispatch_uuid") for line in lines]
    assert first["CLIENT_SECRET"] not in record.read_text()
    assert record.stat().st_mode & 0o777 == 0o600  # it holds what was sent, and to whom


@pytest.mark.parametrize("option", ["--record", "--state", "--env"])
def test_a_file_that_cannot_be_written_is_named(tmp_path: Path, option: str) -> None:
    missing = str(tmp_path / "no such folder" / "file")

    done = CliRunner().invoke(app, ["simulate", "--port", "0", option, missing])

    assert done.exit_code == 1
    assert done.stderr.startswith("cannot start: cannot ")
    assert "No such file" in done.stderr


def seed_of(comments: list[str]) -> str:
    """Return the seed that was printed."""
    (line,) = [comment for comment in comments if comment.startswith("# seed: ")]
    seed, _, rest = line.removeprefix("# seed: ").partition(";")
    assert rest == f" --seed {seed} repeats ids and delays"
    return seed


async def test_no_run_repeats_the_ids_of_another_unless_asked() -> None:
    """A receiver that remembers takes a repeated uuid for a repetition; the printed seed repeats a run."""
    async with simulating() as (first, comments):
        sent = await send(first)
    async with simulating() as (second, _):
        other = await send(second)
    async with simulating("--seed", seed_of(comments)) as (third, _):
        again = await send(third)

    assert sent != other
    assert sent == again
    names = ("CLIENT_ID", "CLIENT_SECRET", "SIGNATURE_SECRETS")
    assert not {first[name] for name in names} & {second[name] for name in names}
    assert [first[name] for name in names] == [third[name] for name in names]


async def test_the_page_is_where_the_command_says() -> None:
    async with simulating() as (_, comments), aiohttp.ClientSession() as session:
        (page,) = [line.removeprefix("# page: ") for line in comments if line.startswith("# page: ")]
        async with session.get(page) as answer:
            assert (answer.status, answer.content_type) == (200, "text/html")


async def test_an_open_bind_is_warned_of() -> None:
    """The network gets at the simulator, and through it at what this machine reaches: one line says so."""
    async with simulating("--host", "0.0.0.0", "--allowed-host", "simulator") as (printed, said):  # noqa: S104
        root = printed["BASE_URL"].removesuffix("/communication/nexmo")
        async with (
            aiohttp.ClientSession() as session,
            session.get(root + "/control/state", headers={"Host": "simulator:8701"}) as answer,
        ):
            named = answer.status
    async with simulating() as (_, quiet):
        pass

    assert root.startswith("http://127.0.0.1:")
    assert named == 200
    assert said[0].startswith("warning: others may reach this address")
    assert not [line for line in quiet if line.startswith("warning")]


def test_an_allowed_host_is_checked_at_the_start() -> None:
    done = CliRunner().invoke(app, ["simulate", "--port", "0", "--allowed-host", "*"])

    assert done.exit_code == 1
    assert done.stderr.startswith("cannot start: an allowed host must be a name or an address without scheme")


async def test_the_settings_go_to_a_file_for_their_owner_only(tmp_path: Path) -> None:
    """A shell that reads the file is a client; no credentials stand on the screen."""
    file = tmp_path / "env.sh"
    file.write_text("export NEXMO_DISPATCH_CLIENT_ID=older, and much longer than what follows" * 99)
    file.chmod(0o644)

    async with serving("simulate", "--port", "0", "--env", str(file)) as command:
        ready = await command.until("^the simulator is ready: (.*)")
        lines = file.read_text("utf-8").splitlines()
        settings = dict(line.removeprefix("export NEXMO_DISPATCH_").split("=", 1) for line in lines)
        sent = await send(settings)

    assert sent
    assert ready == settings["BASE_URL"].removesuffix("communication/nexmo")
    assert file.stat().st_mode & 0o777 == 0o600
    assert f"# settings: {file}" in command.lines
    assert not any("export" in line or settings["CLIENT_SECRET"] in line for line in command.lines)


async def test_a_start_that_fails_leaves_the_file_of_the_settings(tmp_path: Path) -> None:
    """It belongs to the simulator that has the port."""
    file = tmp_path / "env.sh"
    file.write_text("export NEXMO_DISPATCH_CLIENT_ID=first\n")
    async with Simulator() as first:
        port = first.url.rpartition(":")[2]
        command = ["simulate", "--port", port, "--env", str(file)]

        done = await anyio.to_thread.run_sync(CliRunner().invoke, app, command)

    assert (done.exit_code, done.stdout) == (1, "")
    assert "ready" not in done.stderr
    assert file.read_text() == "export NEXMO_DISPATCH_CLIENT_ID=first\n"


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["shell", "json"])
async def test_a_simulator_whose_output_is_no_terminal_says_on_stderr_that_it_is_ready(
    options: list[str],
) -> None:
    """As the last line: what was redirected is complete by then."""
    async with serving("simulate", "--port", "0", *options) as command:
        url = await command.until("^the simulator is ready: (.*)")
        async with aiohttp.ClientSession() as session, session.get(url) as page:
            status = page.status

    assert status == 200
    assert command.lines[-1] == f"the simulator is ready: {url}"
    assert len(command.lines) == (2 if options else 11)
