"""Each option and argument of each command, with values that no command can use.

A traceback is no answer: a command refuses a value and names it, or ends as it does for any other one.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Final, get_args, get_type_hints

import pytest
import typer
from typer.testing import CliRunner

from nexmo_dispatch_async.bulk.ledger.sqlite import SqliteLedger
from nexmo_dispatch_async.cli.app import app
from nexmo_dispatch_async.cli.stores import STORE
from nexmo_dispatch_webhooks.inbox import SqliteInbox
from tests.bulk.campaigns import recipients
from tests.bulk.service import running_service
from tests.cli.test_help import LEAVES, parameters

#: What is text in no encoding: an undecodable byte of a command line, and a character that ends a C string.
NO_TEXT: Final = ("1\0", "\udcff")
#: What passes a minimum, or counts further than a database does.
NO_NUMBERS: Final = ("nan", "inf", "-inf", "1e400", "9" * 400, "", "-1")
USUAL: Final = ("", "x" * 10_000)
#: What files, hosts, ports, durations and numbers of rows may be mistaken for.
RARE: Final = (
    *("9" * 18, "\x1b[2J\u2028", "%", "://", "[", "all", "=", "a=", "1e400d", "99999999999d", "0s", "-1d"),
    *("http://", "http://[", "http://a:99999", "http://" + "a" * 300, "http://127.0.0.1:1/\u2028 "),
    *("postgresql://[", "postgresql://127.0.0.1:99999/x", "nats://127.0.0.1:99999/x", "nats://", "mysql://"),
    *("127.0.0.1:99999", "[::1]:0x", "a..b:1"),
)
#: Command -> values without which it looks at no other one; they end it soon, whatever else is wrong.
REQUIRED: Final[dict[str, dict[str, list[str]]]] = {
    "demo": {},
    "migrate": {"--store": ["postgresql://127.0.0.1:1/none"]},
    "doctor": {"--store": ["inbox.db"], "--only": ["store"]},
    "simulate": {"--port": ["TAKEN"]},
    "send": {"file": ["workflow.json"]},
    "lint": {"file": ["workflow.json"]},
    "listen": {"--port": ["TAKEN"], "--secret": ["a=b"]},
    "replay": {"source": ["body.json"], "--to": ["http://127.0.0.1:1"]},
    "trigger": {"kind": ["delivered"], "--to": ["http://127.0.0.1:1"]},
    "worker": {"--store": ["spring.db"]},
    "apps list": {},
    "apps create": {"name": ["shop"], "--url": ["https://example.com/webhooks"]},
    "apps show": {"application_id": ["a"]},
    "apps update": {"application_id": ["a"], "--name": ["shop"]},
    "apps delete": {"application_id": ["a"], "--yes": []},
    "inbox list": {"store": ["inbox.db"]},
    "inbox show": {"words": ["inbox.db", "1"]},
    "inbox summary": {"store": ["inbox.db"]},
    "inbox retry": {"words": ["inbox.db", "all"]},
    "inbox purge": {"words": ["inbox.db", "all"]},
    "bulk plan": {"file": ["spring.toml"]},
    "bulk run": {"file": ["spring.toml"]},
    "bulk listen": {"file": ["spring.toml"], "--listen": ["127.0.0.1:TAKEN"], "--no-verification": []},
    "bulk status": {"store": ["spring.toml"]},
    "bulk pause": {"store": ["spring.toml"]},
    "bulk resume": {"store": ["spring.toml"]},
    "bulk stop": {"store": ["spring.toml"]},
    "bulk report": {"store": ["spring.toml"]},
    "bulk export": {"store": ["spring.toml"]},
    "bulk forget": {"store": ["spring.toml"], "--older": ["1d"]},
    "bulk withdraw": {"file": ["spring.toml"], "--yes": []},
    "bulk unknown list": {"store": ["spring.toml"]},
    "bulk unknown resend": {"which": ["spring.toml", "1"]},
    "bulk unknown drop": {"which": ["spring.toml", "1"]},
    "bulk refused list": {"store": ["spring.toml"]},
    "bulk refused resend": {"which": ["spring.toml", "all"]},
    "bulk opt-out list": {"store": ["spring.toml"]},
    "bulk opt-out add": {"words": ["spring.toml", "+999000000001"]},
    "bulk opt-out remove": {"words": ["spring.toml", "+999000000001"]},
}
#: Commands whose values reach the service.
SENDING: Final = {"send", "bulk run", *(path for path in REQUIRED if path.startswith("apps "))}
COMMANDS: Final = {path.partition(" ")[2]: command for path, command in LEAVES.items()}
CAMPAIGN: Final = """
[campaign]
name = "spring"
ledger = "spring.db"
[rows]
file = "customers.csv"
[template]
[[template.message]]
channel = "sms"
from = "31647356950"
to = "{phone}"
text = "Hello"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workflow: Any) -> Path:
    """The current folder, with the files that `REQUIRED` names."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spring.toml").write_text(CAMPAIGN, "utf-8")
    (tmp_path / "customers.csv").write_text("phone\n+999000000001\n", "utf-8")
    (tmp_path / "workflow.json").write_bytes(workflow.to_json())
    (tmp_path / "body.json").write_text(json.dumps({"text": "hi"}), "utf-8")

    async def fill() -> None:
        async with SqliteInbox(tmp_path / "inbox.db") as inbox:
            await inbox.store.open()
        async with await SqliteLedger.open(tmp_path / "spring.db") as ledger:
            await ledger.add(recipients(1))

    asyncio.run(fill())
    return tmp_path


@pytest.fixture
def taken() -> Iterator[str]:
    """A port at which no server can listen."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        yield str(held.getsockname()[1])


def valued(path: str) -> list[Any]:
    """Return the parameters of a command that take a value."""
    command = COMMANDS[path]
    options = [each for each in parameters(command, "option") if not each.is_flag and each.name != "help"]
    return options + parameters(command, "argument")


def lines_with(path: str, parameter: Any, value: str, port: str) -> Iterator[list[str]]:
    """Yield command lines in which a parameter has a value, once for each word that it takes."""
    name = parameter.opts[0] if parameter.param_type_name == "option" else parameter.name
    before = REQUIRED[path].get(name, [""])
    for position in range(len(before) if parameter.nargs == -1 else 1):
        given = {**REQUIRED[path], name: [*before[:position], value, *before[position + 1 :]]}
        words: list[str] = []
        for option, values in given.items():
            if option.startswith("--"):
                words += [f"{option}={each}" for each in values] or [option]
        words.append("--")
        for each in parameters(COMMANDS[path], "argument"):
            words += given.get(each.name, [])
        yield [word.replace("TAKEN", port) for word in words]


def test_each_command_is_tried() -> None:
    """A command that is new has values here too."""
    assert sorted(REQUIRED) == sorted(COMMANDS)


def numbers(path: str) -> set[str]:
    """Return the names of the parameters of a command that take a number."""
    hints = get_type_hints(inspect.unwrap(COMMANDS[path].callback))
    return {name for name, hint in hints.items() if {int, float} & {hint, *get_args(hint)}}


def end_of(path: str, line: list[str]) -> int:
    """Run a command; return its exit code."""
    command = COMMANDS[path]
    try:
        with command.make_context(path, line) as context:
            command.invoke(context)
    except (typer.Exit, typer.BadParameter) as end:
        return end.exit_code
    return 0


@pytest.mark.parametrize("path", REQUIRED)
def test_what_is_no_text_and_no_number_is_a_wrong_command_line(path: str, folder: Path, taken: str) -> None:
    """It is refused, by the name of its parameter, before anything is opened, sent or stored."""
    for parameter in valued(path):
        for value in (*NO_TEXT, *(NO_NUMBERS if parameter.name in numbers(path) else ())):
            for line in lines_with(path, parameter, value, taken):
                with pytest.raises(typer.BadParameter) as refused:
                    COMMANDS[path].make_context(path, line)
                assert refused.value.exit_code == 2
                assert refused.value.param is parameter


@pytest.mark.filterwarnings("ignore::nexmo_dispatch_async.urls.PlainHTTPWarning")
@pytest.mark.parametrize("values", [USUAL, pytest.param(RARE, marks=pytest.mark.long)], ids=["usual", "rare"])
@pytest.mark.parametrize("path", REQUIRED)
def test_no_value_ends_a_command_with_a_traceback(
    path: str, values: tuple[str, ...], folder: Path, taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each one gives an exit code of the command."""
    with running_service(monkeypatch) if path in SENDING else nullcontext():
        for parameter in valued(path):
            for value in values:
                for line in lines_with(path, parameter, value, taken):
                    assert end_of(path, line) in range(6), line


@pytest.mark.parametrize("name", [STORE, "NEXMO_DISPATCH_SIGNATURE_SECRETS", "NEXMO_DISPATCH_CLIENT_ID"])
def test_a_variable_that_is_no_text_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an argument is; its value is not shown, which may be a secret."""
    monkeypatch.setenv(name, "open-sesame\udcff")

    done = CliRunner().invoke(app, ["inbox", "list"])

    assert done.exit_code == 2
    assert f"Invalid value for {name}: contains bytes that are no UTF-8" in done.stderr
    assert "open-sesame" not in done.output


def test_bytes_of_a_command_line_that_are_no_text_are_named(folder: Path) -> None:
    """In a process: Python reads them as characters that no database takes; the parameter is named."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "nexmo_dispatch_async.cli",
            "inbox",
            "retry",
            "inbox.db",
            "all",
            "--handler",
            b"\xff",
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert "Error: Invalid value for '--handler': contains bytes that are no UTF-8" in done.stderr


def test_a_range_is_in_the_help() -> None:
    """Each number says what it may be, as its refusal does."""
    for path, command in COMMANDS.items():
        with command.make_context(path, [], resilient_parsing=True) as context:
            page = command.get_help(context)
        ranged = [each for each in parameters(command, "option") if each.name in numbers(path)]
        assert len(re.findall(r"at\s+least\s|[0-9]\s+to\s+[0-9]", page)) >= len(ranged), path
