"""`nexmo-dispatch apps` and `lint`: what a script and a person get from them."""

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nexmo_dispatch_async import Workflow, sms
from nexmo_dispatch_async.cli.app import app
from nexmo_dispatch_async.simulator import Simulator
from tests.support.paths import PAYLOADS

GOOD = PAYLOADS / "requests" / "sms_text.json"


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    """A simulator."""
    async with Simulator() as simulator:
        yield simulator


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def run(sim: Simulator | None, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
    environment = {"NEXMO_DISPATCH_CLIENT_ID": "", "NEXMO_DISPATCH_CLIENT_SECRET": ""}
    if sim is not None:
        environment = {
            "NEXMO_DISPATCH_CLIENT_ID": sim.client_id,
            "NEXMO_DISPATCH_CLIENT_SECRET": sim.client_secret,
            "NEXMO_DISPATCH_BASE_URL": sim.base_url,
            "NEXMO_DISPATCH_TOKEN_URL": sim.token_url,
        }
    done = await asyncio.to_thread(CliRunner().invoke, app, arguments, input=stdin, env=environment)
    return done.exit_code, done.stdout, done.stderr


async def test_an_application_from_its_creation_to_its_end(sim: Simulator, tmp_path: Path) -> None:
    """Create, list, show, update and delete work on one application, and only what is given changes."""
    key = tmp_path / "key.pem"
    code, out, err = await run(
        sim, "apps", "create", "orders", "--url", "https://h.example/a", "--key-file", str(key)
    )
    assert (code, err) == (0, "")
    application_id = out.strip()
    assert "PRIVATE KEY" in key.read_text()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600

    _, out, _ = await run(sim, "apps", "list")
    assert out == f"{application_id}  messages  orders  https://h.example/a\n"
    _, out, _ = await run(sim, "apps", "list", "--json")
    assert json.loads(out)["id"] == application_id

    code, out, _ = await run(
        sim, "apps", "update", application_id, "--inbound-url", "https://h.example/b", "--json"
    )
    shown = json.loads(out)
    assert code == 0
    assert (shown["name"], shown["status_url"], shown["inbound_url"]) == (
        "orders",
        "https://h.example/a",
        "https://h.example/b",
    )
    _, out, _ = await run(sim, "apps", "show", application_id)
    assert "inbound_url     https://h.example/b" in out.splitlines()
    assert "KEY" not in out

    assert (await run(sim, "apps", "delete", application_id, stdin="n\n"))[0] == 1
    code, out, _ = await run(sim, "apps", "delete", application_id, "--yes")
    assert (code, out) == (0, f"deleted {application_id}\n")
    code, _, err = await run(sim, "apps", "show", application_id)
    assert code == 1
    assert "404" in err


async def test_a_key_is_never_written_over_another(sim: Simulator, tmp_path: Path) -> None:
    """A file that exists is refused before the call, and a call that fails leaves no empty file."""
    key = tmp_path / "key.pem"
    key.write_text("an older key")
    create = ("apps", "create", "orders", "--url", "https://h.example/a", "--key-file")

    code, _, err = await run(sim, *create, str(key))
    assert (code, "name a new file" in err) == (1, True)
    assert key.read_text() == "an older key"
    assert sim.applications == []
    sim.faults.add({"kind": "error", "status": 400, "route": "POST /applications"})
    assert (await run(sim, *create, str(tmp_path / "new.pem")))[0] == 1
    assert names(tmp_path) == ["key.pem"]


async def test_what_is_missing_is_named() -> None:
    """Without an account the message names the variables, and without a change the options."""
    code, _, err = await run(None, "apps", "list")
    assert code == 1
    assert "NEXMO_DISPATCH_CLIENT_ID" in err
    for arguments in (("apps", "create", "orders"), ("apps", "update", "1")):
        code, _, err = await run(None, *arguments)
        assert code == 2
        assert "--url" in err
    code, _, err = await run(None, "apps", "create", "orders", "--url", "h.example")
    assert (code, "http" in err) == (2, True)


async def test_lint_names_the_page_of_a_rule_once(tmp_path: Path) -> None:
    """A workflow with the same fault in each step fills no screen with the same address."""
    file = tmp_path / "workflow.json"
    wrong = sms.text("Hi", from_="447700900800", to="0617185666")
    file.write_bytes(Workflow.failover(wrong.until("delivered", within=60), wrong).to_json())

    _, out, _ = await run(None, "lint", str(file))

    assert (out.count("[e164]"), out.count("rules.md#e164")) == (2, 1)


async def test_lint_says_what_is_wrong_and_where_to_read_on(tmp_path: Path) -> None:
    """Each finding has its rule and its page; errors end with 1, warnings only with `--strict`."""
    file = tmp_path / "workflow.json"
    workflow = Workflow.failover(sms.text("Hi", from_="ACME", to="0617185666"))
    file.write_bytes(workflow.to_json())

    code, out, _ = await run(None, "lint", str(file))
    assert code == 1
    assert "[e164]" in out
    assert "rules.md#e164" in out
    assert out.endswith("1 error, 2 warnings\n")
    code, out, _ = await run(None, "lint", "--off", "e164", "--json", "-", stdin=file.read_text())
    report = json.loads(out)
    assert (code, report["errors"], report["warnings"]) == (0, 0, 2)
    assert (await run(None, "lint", "--off", "e164", "--strict", str(file)))[0] == 1


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        ("{", (), "[json]"),
        ('{"template": "failover"}', (), "[required]"),
        ("{}", ("--off", "gravity"), "gravity"),
        (None, (), "No such file"),
    ],
)
async def test_lint_of_no_workflow_is_named(
    content: str | None, arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    """A file that is no workflow, a rule that is none and a missing file end with 1."""
    file = tmp_path / "workflow.json"
    if content is not None:
        file.write_text(content)

    code, out, err = await run(None, "lint", *arguments, str(file))

    assert code == 1
    assert message in out + err


async def test_send_prints_json(sim: Simulator, tmp_path: Path) -> None:
    """`send --json` prints the outcome as an object, whatever it is."""
    application = sim.create_application().id
    bad = tmp_path / "bad.json"
    bad.write_bytes(Workflow.failover(sms.text("Hi", from_="ACME", to="0617185666")).to_json())
    environment = {"NEXMO_DISPATCH_APPLICATION_ID": application}

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(*next(iter(environment.items())))
        code, out, _ = await run(sim, "send", "--json", str(GOOD))
        assert (code, set(json.loads(out))) == (0, {"outcome", "dispatch_uuid", "client_refs"})
        code, out, err = await run(sim, "send", "--json", str(bad))
    report = json.loads(out)
    assert code == 1
    assert (report["outcome"], report["error"]) == ("not_sent", "InvalidWorkflowError")
    assert report["findings"][0]["rule"] == "e164"
    assert "not sent" in err
