"""The command, as a person at a terminal would use it."""

import asyncio
import io
import json
import os
import re
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from rich.console import Console
from typer.testing import CliRunner

from nexmo_dispatch_async import DispatchClient, KpnOAuth, Workflow, sms
from nexmo_dispatch_async.cli import demo, replay
from nexmo_dispatch_async.cli.app import app
from nexmo_dispatch_async.cli.inbox import show_list
from nexmo_dispatch_async.cli.scenarios import SCENARIOS, Scenario
from nexmo_dispatch_async.cli.screen import show
from nexmo_dispatch_async.cli.timeline import line
from nexmo_dispatch_async.simulator import Simulator
from nexmo_dispatch_webhooks import parse_event, sign
from nexmo_dispatch_webhooks.testing import inbound_body, report_body, status_body
from tests.support.commands import serving
from tests.support.paths import PAYLOADS, ROOT

COMMAND = [sys.executable, "-m", "nexmo_dispatch_async.cli"]
GOOD = PAYLOADS / "requests" / "sms_text.json"


async def play(*scenarios: Scenario) -> tuple[int, str]:
    page = io.StringIO()
    code = await demo.run(Console(file=page, width=200), scenarios=scenarios)
    return code, page.getvalue()


async def test_demo_shows_the_documented_failover_and_ends_with_0() -> None:
    """WhatsApp, not read in 600 s, then SMS, then the report with its price (contract 10.2)."""
    code, page = await play(*SCENARIOS)

    assert code == 0
    first = page.split("2. ")[0]
    order = ["POST /dispatch", "submitted", "delivered", "failover", "submitted", "delivered", "final-report"]
    assert re.search(".*".join(map(re.escape, order)), first, re.DOTALL)
    assert "EUR 0.0978 = whatsapp 0.0625 + sms 0.0333 + workflow fee 0.002" in first
    assert "✗" not in page


async def test_the_readme_shows_what_demo_prints() -> None:
    """Every line of the README's excerpt comes from a run of the demo: one seed, one transcript."""
    readme = (ROOT / "README.md").read_text("utf-8")
    excerpt = next(block for block in readme.split("```") if "final-report: completed" in block)

    _, page = await play(SCENARIOS[0])

    lines = [line.rstrip() for line in excerpt.strip().splitlines()]
    assert len(lines) > 8
    assert [line for line in lines if line not in [printed.rstrip() for printed in page.splitlines()]] == []


async def test_demo_ends_with_1_when_a_callback_is_missing() -> None:
    """A callback that did not arrive is named, and the exit code says so."""
    wrong = replace(SCENARIOS[1], statuses=(*SCENARIOS[1].statuses, ("sms", "delivered")))

    code, page = await play(wrong)

    assert code == 1
    assert "missing: sms delivered" in page


async def test_demo_ends_with_1_when_the_outcome_is_another() -> None:
    """An unexpected callback, reply or report counts as failure."""
    wrong = replace(SCENARIOS[2], statuses=SCENARIOS[2].statuses[:1], replies=0, report="error")

    code, page = await play(wrong)

    assert code == 1
    assert "unexpected: messenger delivered" in page
    assert "2 inbound messages instead of 1" in page
    assert "final reports ['completed'] instead of error" in page


def test_demo_shows_no_whole_number() -> None:
    """A terminal is a log too: no address is printed in full."""
    done = CliRunner().invoke(app, ["demo"], prog_name="nexmo-dispatch")

    numbers = {
        address
        for scenario in SCENARIOS
        for step in json.loads(scenario.workflow.to_json())["workflow"]
        for end in (step["from"], step["to"])
        for key, address in end.items()
        if key != "type"
    }
    assert done.exit_code == 0
    assert [number for number in numbers if number in done.stdout] == []


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    """A simulator."""
    async with Simulator() as simulator:
        yield simulator


async def run(*arguments: str, environment: dict[str, str], stdin: bytes = b"") -> tuple[int, str, str]:
    """The command beside its server, in a thread of this process."""
    done = await asyncio.to_thread(
        CliRunner().invoke, app, arguments, input=stdin, env=environment, prog_name="nexmo-dispatch"
    )
    return done.exit_code, done.stdout, done.stderr


async def run_process(*arguments: str, environment: dict[str, str]) -> tuple[int, str, str]:
    """The command as its user starts it."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def settings(sim: Simulator) -> dict[str, str]:
    return {
        "NEXMO_DISPATCH_CLIENT_ID": sim.client_id,
        "NEXMO_DISPATCH_CLIENT_SECRET": sim.client_secret,
        "NEXMO_DISPATCH_APPLICATION_ID": sim.create_application().id,
        "NEXMO_DISPATCH_BASE_URL": sim.base_url,
        "NEXMO_DISPATCH_TOKEN_URL": sim.token_url,
    }


async def test_send_prints_the_dispatch_uuid(sim: Simulator) -> None:
    """`send FILE` sends once and prints the id alone."""
    code, out, err = await run_process("send", str(GOOD), environment=settings(sim))

    assert (code, err) == (0, "")
    assert re.fullmatch(r"[0-9a-f-]{36}\n", out)
    assert sim.counts["POST /dispatch"] == 1


async def test_send_reads_standard_input_and_warns(sim: Simulator) -> None:
    """`send -` reads a workflow from a pipe; warnings go to standard error and do not stop it."""
    body = (PAYLOADS / "requests" / "single_step.json").read_bytes()

    code, out, err = await run("send", "-", stdin=body, environment=settings(sim))

    assert code == 0
    assert out.strip()
    assert err.startswith("warning: ")


async def test_send_names_every_problem_and_sends_nothing(sim: Simulator) -> None:
    """A bad workflow ends with 1, with its problems, without any request."""
    body = Workflow.failover(sms.text("", from_="1", to="031"), sms.text("x", from_="1", to="31")).to_json()

    code, out, err = await run("send", "-", stdin=body, environment=settings(sim))

    assert (code, out) == (1, "")
    assert err.count("step 1") >= 2
    assert sum(sim.counts.values()) == 0


def test_send_check_sends_nothing() -> None:
    """`--check` needs no settings and no network."""
    done = CliRunner().invoke(app, ["send", "--check", str(GOOD)])

    assert done.exit_code == 0
    assert "nothing was sent" in done.stdout


def test_send_without_settings_says_which() -> None:
    """Missing settings are named."""
    done = CliRunner().invoke(app, ["send", str(GOOD)], env={"NEXMO_DISPATCH_CLIENT_ID": ""})

    assert done.exit_code == 1
    assert "NEXMO_DISPATCH_CLIENT_SECRET" in done.stderr


def test_send_of_a_missing_file() -> None:
    """A file that is not there ends with 1 and says so."""
    done = CliRunner().invoke(app, ["send", "no-such-file.json"])

    assert done.exit_code == 1
    assert "cannot read no-such-file.json" in done.stderr


async def test_send_ends_with_3_when_the_outcome_is_unknown() -> None:
    """A server that takes the request and hangs up leaves the outcome unknown."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        if "/token" in head.split("\r\n")[0]:
            body = b'{"access_token": "t"}'
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        code, out, err = await run(
            "send",
            str(GOOD),
            environment={
                "NEXMO_DISPATCH_CLIENT_ID": "id",
                "NEXMO_DISPATCH_CLIENT_SECRET": "secret",
                "NEXMO_DISPATCH_APPLICATION_ID": "application",
                "NEXMO_DISPATCH_BASE_URL": url,
                "NEXMO_DISPATCH_TOKEN_URL": f"{url}/token",
            },
        )

    assert (code, out) == (3, "")
    assert err.startswith("unknown: ")


@pytest.mark.parametrize(
    "arguments", [[], ["--secret", "k=s", "--no-verification"], ["--secret", "no-equals-sign"]], ids=repr
)
def test_listen_wants_exactly_one_answer_about_signatures(arguments: list[str]) -> None:
    """Neither, both, or a malformed secret are refused with exit code 2."""
    done = CliRunner().invoke(app, ["listen", *arguments], env={"NEXMO_DISPATCH_SIGNATURE_SECRETS": ""})

    assert done.exit_code == 2


@pytest.mark.parametrize(
    "command", [["listen"], ["replay", str(GOOD), "--to", "http://127.0.0.1:1"]], ids=repr
)
def test_a_malformed_secret_is_named_by_where_it_stands(command: list[str]) -> None:
    """By the variable that holds it, or by the option."""
    environment = {"COLUMNS": "200", "TERM": "dumb"}
    variable = {**environment, "NEXMO_DISPATCH_SIGNATURE_SECRETS": "no-equals-sign"}

    there = CliRunner().invoke(app, command, env=variable)
    here = CliRunner().invoke(app, [*command, "--secret", "no-equals-sign"], env=environment)

    assert (there.exit_code, here.exit_code) == (2, 2)
    assert "Invalid value for NEXMO_DISPATCH_SIGNATURE_SECRETS: must read API_KEY=SECRET" in there.stderr
    assert "Invalid value for --secret: must read API_KEY=SECRET" in here.stderr


async def test_listen_prints_each_callback_and_refuses_unsigned_ones() -> None:
    """One line for each kind, addresses masked; Ctrl-C ends it."""
    bodies = [
        (PAYLOADS / "webhooks" / name).read_bytes()
        for name in (
            "message_status/sms_rejected.json",
            "inbound_message/whatsapp_text.json",
            "final_report/completed_whatsapp.json",
        )
    ] + [b'{"something": "else"}']

    async with (
        serving("listen", "--port", "0", "--secret", "a1b2c3d4=secret") as command,
        aiohttp.ClientSession() as session,
    ):
        url = await command.until(r"(http://\S+)")
        answers: list[int] = []
        for body in bodies:
            headers = {
                "Authorization": sign(
                    body, secret="secret", api_key="a1b2c3d4", iat=int(time.time()), jti="1"
                )
            }
            headers["Content-Type"] = "application/json"
            async with session.post(f"{url}/any", data=body, headers=headers) as answer:
                answers.append(answer.status)
        async with session.post(url, data=bodies[0], headers={"Content-Type": "application/json"}) as answer:
            answers.append(answer.status)
        lines = [await command.line() for _ in bodies]
        assert await command.signalled(signal.SIGINT) == 0

    assert answers == [200, 200, 200, 200, 503]
    assert [line.split()[0] for line in lines] == ["rejected", "inbound", "final-report:", "unknown"]
    assert "447700900123" not in "".join(lines)


async def test_listen_records_and_stores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--record` keeps what happened without personal data, `--inbox` keeps it whole."""
    recording, inbox = tmp_path / "callbacks.jsonl", tmp_path / "inbox.db"
    folder = PAYLOADS / "webhooks" / "inbound_message"
    count = len(list(folder.iterdir()))
    options = ("--no-verification", "--record", str(recording), "--inbox", str(inbox))
    async with serving("listen", "--port", "0", *options) as command:
        url = await command.until(r"(http://\S+)")

        code = await replay.run(folder, url, None, replay.Plan())
        lines = [await command.until("^inbound") for _ in range(count)]
        printed = "\n".join(command.lines)
        await command.signalled(signal.SIGINT)
    await show_list(inbox, "handled", 100, 0)

    assert code == 0
    assert len(lines) == count
    assert len(recording.read_text().splitlines()) == count
    assert "4477009" not in recording.read_text()
    assert f"200: {count}" in printed
    assert capsys.readouterr().out.count(" inbound-message ") == count


@pytest.mark.parametrize(("options", "status"), [((), 401), (("--repeat-wrong-signature",), 503)])
async def test_listen_answers_a_wrong_signature_as_it_is_told(options: tuple[str, ...], status: int) -> None:
    """Contract 5.10: 401 ends the callback, after 503 the service repeats it for 24 hours."""
    body = (PAYLOADS / "webhooks" / "message_status" / "sms_rejected.json").read_bytes()
    token = sign(body, secret="old secret", api_key="a1b2c3d4", iat=int(time.time()), jti="1")
    headers = {"Authorization": token, "Content-Type": "application/json"}
    async with serving("listen", "--port", "0", "--secret", "a1b2c3d4=new secret", *options) as command:
        url = await command.until(r"(http://\S+)")
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, data=body, headers=headers) as answer,
        ):
            assert answer.status == status
        await command.signalled(signal.SIGINT)


@pytest.mark.parametrize("command", [["listen", "--no-verification"], ["simulate"]], ids=" ".join)
def test_a_port_that_is_taken_is_told_with_its_cure(
    command: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    """By host and port, in a sentence that names the option which chooses another."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = CliRunner().invoke(app, [*command, "--port", str(port)])

    assert done.exit_code == 1
    assert done.stderr == (
        f"cannot listen on 127.0.0.1 port {port}: the port is in use; choose another with --port\n"
    )
    assert "NEXMO_DISPATCH_BASE_URL=" not in done.stdout
    assert "Traceback" not in done.output + capfd.readouterr().err


def test_listen_says_which_setting_is_wrong() -> None:
    done = CliRunner().invoke(app, ["listen", "--port", "0", "--no-verification", "--path", "hooks"])

    assert (done.exit_code, done.stderr) == (1, "path must start with /\n")


def test_a_line_shows_nothing_that_the_sender_wants_it_to() -> None:
    """No reason, which may hold a number or a text; no escape code, no second line, no text turned around."""
    evil = "\x1b[2J\r\nfinal-report: completed \u202e\ud800"
    events = [
        status_body(evil, error={"code": 1300, "reason": "447700900123 is unknown"}, message_uuid=evil),
        inbound_body(content={"type": evil}, from_="44770090\x1b[1", message_uuid=evil),
        report_body(evil, dispatch_uuid=evil),
        {"what": "ever"},
    ]

    page = io.StringIO()
    for body in events:
        show(*line(parse_event(json.dumps(body))), to=Console(file=page, width=20))
    lines = page.getvalue().removesuffix("\n").split("\n")

    assert len(lines) == 4
    assert all(text.isprintable() for text in lines)
    assert "447700900123" not in lines[0]
    assert "error 1300 (permanent)" in lines[0]
    assert r"\u001b[2j\r\nfinal" in lines[0].lower()


@pytest.mark.parametrize("option", ["--record", "--inbox"])
def test_listen_says_which_file_it_cannot_write(tmp_path: Path, option: str) -> None:
    """It ends with 1, before it listens."""
    missing = str(tmp_path / "no such folder" / "file")

    done = CliRunner().invoke(app, ["listen", "--port", "0", "--no-verification", option, missing])

    assert done.exit_code == 1
    assert done.stderr.strip()
    assert "listening" not in done.stdout


async def test_simulate_prints_settings_that_work(tmp_path: Path) -> None:
    """What `simulate` prints is enough to send a workflow."""
    config = tmp_path / "people.toml"
    config.write_text("")
    printed: dict[str, str] = {}
    async with serving("simulate", "--port", "0", "--speed", "60", "--config", str(config)) as command:
        while len(printed) < 6:
            name, _, value = (await command.line()).removeprefix("export ").partition("=")
            printed[name.removeprefix("NEXMO_DISPATCH_")] = value

        auth = KpnOAuth(printed["CLIENT_ID"], printed["CLIENT_SECRET"], token_url=printed["TOKEN_URL"])
        async with DispatchClient(
            auth=auth, application_id=printed["APPLICATION_ID"], base_url=printed["BASE_URL"]
        ) as client:
            dispatch = await client.send(Workflow.from_json(GOOD.read_bytes()))
        assert await command.signalled(signal.SIGTERM) == 0

    assert dispatch.dispatch_uuid


def test_simulate_says_why_it_cannot_start(tmp_path: Path) -> None:
    """A mistake in the configuration file ends with 1 and a sentence."""
    config = tmp_path / "people.toml"
    config.write_text("nonsense = 1")

    done = CliRunner().invoke(app, ["simulate", "--port", "0", "--config", str(config)])

    assert done.exit_code == 1
    assert done.stderr.startswith("cannot start: ")


def test_version() -> None:
    """`--version` prints one line."""
    done = CliRunner().invoke(app, ["--version"])

    assert done.stdout.startswith("nexmo-dispatch 0.")


async def test_demo_prints_an_object_for_each_workflow(capsys: pytest.CaptureFixture[str]) -> None:
    """`demo --json` prints nothing but objects, each with the outcome of a workflow."""
    assert await demo.run(None, demo.DemoOptions(json=True), SCENARIOS[:2]) == 0

    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["reports"] == second["reports"] == ["completed"]
    assert {"channel": "sms", "status": "delivered"} in first["statuses"]
    assert first["problems"] == []


async def test_demo_lets_time_pass_as_fast_as_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """`demo --speed` waits a second for each of so many simulated ones, and the events are the same."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr("anyio.sleep", sleep)
    page = io.StringIO()
    options = demo.DemoOptions(speed=60)

    assert await demo.run(Console(file=page, width=200), options, SCENARIOS[:1]) == 0

    assert sum(waited) == pytest.approx(SCENARIOS[0].advance / 60)
    assert max(waited) <= 0.1
    assert "as expected" in page.getvalue()


async def test_listen_prints_objects_without_personal_data() -> None:
    """`listen --json` prints an object for each callback, as `--record` would keep it."""
    async with serving("listen", "--no-verification", "--port", "0", "--json") as command:
        url = await command.until(r"listening on (http://\S+)")
        async with aiohttp.ClientSession() as session:
            body = status_body("read", to="447700900321", client_ref="order-7")
            await (await session.post(url, json=body)).read()
        line = json.loads(await command.line())

    assert (line["kind"], line["body"]["status"]) == ("message-status", "read")
    assert "447700900321" not in json.dumps(line)


async def test_simulate_prints_an_object() -> None:
    """`simulate --json` prints its settings as one object, with which a client can be made."""
    async with serving("simulate", "--port", "0", "--json") as command:
        settings_ = json.loads(await command.line())["environment"]
        async with DispatchClient.from_env(settings_) as client:
            application = await client.applications.get(settings_["NEXMO_DISPATCH_APPLICATION_ID"])

    assert application.id == settings_["NEXMO_DISPATCH_APPLICATION_ID"]


async def test_listen_takes_both_secrets_of_a_rotation() -> None:
    """Callbacks signed with the old and with the new secret of one account are accepted."""
    secrets = ("--secret", "a1b2c3d4=new", "--secret", "a1b2c3d4=old")
    async with serving("listen", "--port", "0", *secrets) as command:
        url = await command.until(r"listening on (http://\S+)")
        async with aiohttp.ClientSession() as session:
            for secret in ("new", "old"):
                body = json.dumps(status_body("read")).encode()
                token = sign(body, secret=secret, api_key="a1b2c3d4", jti=secret)
                answer = await session.post(url, data=body, headers={"Authorization": token})
                assert answer.status == 200
                await answer.read()
