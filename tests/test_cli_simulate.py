"""`nexmo-dispatch simulate` with --state and --record: what is left when the process is gone."""

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nexmo_dispatch_async import DispatchClient, KpnOAuth, Workflow, sms
from nexmo_dispatch_async.cli.app import app

WORKFLOW = Workflow.failover(sms.text("Hi", from_="31647356950", to="999000000001"))


async def run_and_send(*options: str) -> tuple[dict[str, str], str]:
    """Start the command, send a workflow, end it; return the settings it printed and the dispatch_uuid."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "nexmo_dispatch_async.cli", "simulate", "--port", "0", *options),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    printed: dict[str, str] = {}
    try:
        while len(printed) < 6:
            line = (await process.stdout.readline()).decode().strip()
            name, _, value = line.removeprefix("export NEXMO_DISPATCH_").partition("=")
            printed[name] = value
        auth = KpnOAuth(printed["CLIENT_ID"], printed["CLIENT_SECRET"], token_url=printed["TOKEN_URL"])
        async with DispatchClient(
            auth=auth, application_id=printed["APPLICATION_ID"], base_url=printed["BASE_URL"]
        ) as client:
            dispatch = await client.send(WORKFLOW)
    finally:
        process.send_signal(signal.SIGINT)
        await process.wait()
    return printed, dispatch.dispatch_uuid


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


@pytest.mark.parametrize("option", ["--record", "--state"])
def test_a_file_that_cannot_be_written_is_named(tmp_path: Path, option: str) -> None:
    missing = str(tmp_path / "no such folder" / "file")

    done = CliRunner().invoke(app, ["simulate", "--port", "0", option, missing])

    assert done.exit_code == 1
    assert done.stderr.startswith("cannot start: cannot ")
    assert "No such file" in done.stderr
