"""Editors and shells on Windows write a byte-order mark before UTF-8: it changes nothing that is read."""

from pathlib import Path
from typing import Any

import pytest

from nexmo_dispatch_async import InvalidWorkflowError, Workflow
from nexmo_dispatch_async.cli import recording, send
from nexmo_dispatch_async.models import Step
from nexmo_dispatch_async.simulator import People, Person, Simulator
from nexmo_dispatch_async.simulator.config_file import load_config
from nexmo_dispatch_async.simulator.world.faults import Faults
from nexmo_dispatch_async.simulator.world.seeded_random import SeededRandom
from nexmo_dispatch_async.simulator.world.settings import Settings
from tests.support.paths import PAYLOADS

MARK = b"\xef\xbb\xbf"
OBSERVED = (PAYLOADS / "observed" / "w08_bom.json").read_bytes()
RULES = '[[people]]\naddress = "4477009001*"\nreply = "Yes"\n'


@pytest.mark.parametrize("form", [bytes, bytes.decode])
def test_a_workflow_is_read(form: Any) -> None:
    """As bytes and as text, a whole body and a bare step."""
    assert OBSERVED.startswith(MARK)
    whole = Workflow.from_json(form(OBSERVED))
    bare = whole.steps[1].to_json()

    assert [step.channel for step in whole.steps] == ["messenger", "sms"]
    assert (
        Step.from_json(form(MARK + bare)) == Workflow.from_json(form(MARK + bare)).steps[0] == whole.steps[1]
    )


def test_problems_are_still_named() -> None:
    with pytest.raises(InvalidWorkflowError, match="step 1, to: is missing"):
        Workflow.from_json(
            MARK + b'{"from": {"type": "sms"}, "message": {"content": {"type": "text", "text": "x"}}}'
        )
    with pytest.raises(InvalidWorkflowError, match="cannot be read as JSON"):
        Workflow.from_json(MARK + MARK + b"{}")


async def test_the_command_sends_such_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (file := tmp_path / "workflow.json").write_bytes(OBSERVED)

    assert await send.run(file, check=True) == 0
    assert "no errors" in capsys.readouterr().out


def test_a_recording_is_read(tmp_path: Path) -> None:
    """Lines, one body, and a folder of bodies; what is posted has no mark, as the service's own bodies."""
    body = b'{"message_uuid": "m"}'
    (lines := tmp_path / "lines.jsonl").write_bytes(
        MARK + b'{"at": null, "path": "x", "body": ' + body + b"}\n"
    )
    (one := tmp_path / "one.json").write_bytes(MARK + body)

    assert [item.body for source in (lines, one, tmp_path) for item in recording.read(source)] == [body] * 3


def test_rules_are_read(tmp_path: Path) -> None:
    """The rules file of the simulator, and the same as text."""
    (file := tmp_path / "simulator.toml").write_bytes(MARK + RULES.encode())
    one, two, three = People(), People(), People()

    one.load(file)
    two.loads("\ufeff" + RULES)
    load_config(file, people=three, faults=Faults(SeededRandom(0)), settings=Settings())

    for people in (one, two, three):
        assert people.find("447700900123", "sms") == Person(reply="Yes")


async def test_the_state_of_a_simulator_is_read(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    async with Simulator(state=file) as sim:
        application = sim.create_application()
    file.write_bytes(MARK + file.read_bytes())

    async with Simulator(state=file) as sim:
        assert [found.id for found in sim.applications] == [application.id]
