"""The shell commands run as they stand: in a real shell, with a real curl."""

import asyncio
import json
import shutil

import pytest

from nexmo_dispatch_async.simulator import Simulator
from nexmo_dispatch_async.simulator.control.shell_commands import as_curl, as_request, sample
from tests.simulator.conftest import Caller
from tests.simulator.support import box, step, workflow

TO = "999500000001"

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


async def run_in_a_shell(command: str) -> dict[str, object]:
    """Run a command without any variable but PATH, and return the JSON that it prints."""
    shell = await asyncio.create_subprocess_exec(
        "/bin/sh", "-euc", command, stdout=asyncio.subprocess.PIPE, env={"PATH": "/usr/bin:/bin"}
    )
    async with asyncio.timeout(30):
        printed, _ = await shell.communicate()
    return dict(json.loads(printed))


def test_a_request_is_told_back_as_it_was() -> None:
    body = workflow(step("whatsapp", TO, within=60, client_ref="r-1"), step("sms", TO))
    run = box().accept(*body["workflow"])

    assert as_request(run) == body


@needs_curl
@pytest.mark.parametrize("text", ["It's", '"quoted" $HOME `id` \\', "line\nline", "é 🙂", "'; exit 1 #"])
async def test_a_workflow_is_sent_again_with_a_token_of_its_own(caller: Caller, text: str) -> None:
    """The command needs nothing to be filled in, and says to the shell what was said to the service."""
    body = workflow(step("sms", TO, message={"content": {"type": "text", "text": text}}))
    _, first = await caller.send(body)
    url = f"{caller.sim.url}/control/workflows/{first['dispatch_uuid']}/curl"
    async with caller.session.get(url) as response:
        command = await response.text()

    second = await run_in_a_shell(command)

    runs = caller.sim._engine.runs
    assert caller.token not in command
    assert as_request(runs[str(second["dispatch_uuid"])]) == body
    assert second["dispatch_uuid"] != first["dispatch_uuid"]


@needs_curl
async def test_the_sample_is_accepted_under_the_default_settings() -> None:
    """With the care window on, as in the service; the message is read and nothing fails over."""
    async with Simulator() as sim:
        application = sim.create_application()
        application.accounts["whatsapp"] = "447700900801"
        command = as_curl(sample(application), application=application.id, origin=sim.url, sim=sim)

        sent = await run_in_a_shell(command)
        await sim.advance(60)

        assert sim.outcome(str(sent["dispatch_uuid"])) == "completed"
        assert sim.sent_channels() == ["whatsapp"]
