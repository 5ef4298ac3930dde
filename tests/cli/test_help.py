"""Every command: its help, its names of values, its examples, its JSON, and its completion."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from nexmo_dispatch_async._version import __version__
from nexmo_dispatch_async.cli.app import app
from nexmo_dispatch_async.cli.examples import EXAMPLES
from nexmo_dispatch_async.cli.help import value_name

ROOT_NAME = "nexmo-dispatch"
TREE: Any = typer.main.get_command(app)  # Any: click's types, of which typer carries its own copy
OPTION = re.compile(r"[A-Z][A-Z0-9_-]*(?:[=:][A-Z]+)?")
ARGUMENT = re.compile(r"(?:\[?[A-Z][A-Z-]*(?:\.\.\.)?(?:\|all)?\]? ?)+")
#: The files that examples name.
FILES = ("workflow.json", "people.toml", "callbacks.jsonl", "spring.toml", "inbox.db", "numbers.txt")


def walk(command: Any = TREE, path: str = ROOT_NAME) -> Iterator[tuple[str, Any]]:
    """Yield every command and group with its path."""
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from walk(below, f"{path} {name}")


COMMANDS = dict(walk())
LEAVES = {path: command for path, command in COMMANDS.items() if not hasattr(command, "commands")}


@cache
def help_of(path: str, flag: str = "--help") -> str:
    done = CliRunner().invoke(app, [*path.split()[1:], flag], prog_name=ROOT_NAME, env={"COLUMNS": "80"})
    assert done.exit_code == 0, done.output
    return done.stdout


def parameters(command: Any, kind: str) -> list[Any]:
    return [each for each in command.params if each.param_type_name == kind]


@pytest.mark.parametrize("path", COMMANDS)
def test_the_help_of_each_command_is_whole_at_80_columns(path: str) -> None:
    """No line is wider than 80 columns, nothing is cut, and `-h` prints the same page."""
    page = help_of(path)

    assert [line for line in page.splitlines() if len(line) > 80] == []
    words = page.split()
    for each in COMMANDS[path].params:
        assert each.param_type_name == "argument" or all(
            re.search(rf"{re.escape(name)}\b", page) for name in each.opts
        )
        assert all(word in words for word in (each.help or "").split() if "." not in word and "|" not in word)
    assert help_of(path, "-h") == page


@pytest.mark.parametrize("path", COMMANDS)
def test_each_value_has_a_name_in_capitals(path: str) -> None:
    """The name of a value says what it means: capitals, never a type."""
    command = COMMANDS[path]
    names = [value_name(each) for each in parameters(command, "option") if not each.is_flag]
    types = {"INTEGER", "FLOAT", "DIRECTORY", "STR", "INT", "BOOL"}

    assert [name for name in names if not OPTION.fullmatch(name) or name in types] == []
    arguments = [value_name(each) for each in parameters(command, "argument")]
    assert [name for name in arguments if not ARGUMENT.fullmatch(name)] == []


@pytest.mark.parametrize("path", COMMANDS)
def test_each_example_is_one_that_its_command_takes(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command has an example in its help, and the command line of every example is right."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bodies").mkdir()
    for name in FILES:
        (tmp_path / name).touch()
    examples = EXAMPLES[path]
    page = help_of(path)

    assert examples
    for example in examples:
        assert f"  {example}\n" in page + "\n"
        assert len(example) <= 78
        words = shlex.split(example.partition(" < ")[0])
        assert words.pop(0) == ROOT_NAME
        command, name = TREE, ROOT_NAME
        while words and words[0] in getattr(command, "commands", {}):
            name = f"{name} {words[0]}"
            command = command.commands[words.pop(0)]
        assert name.startswith(path)
        if words != ["--install-completion"]:
            command.make_context(name, words)


def test_no_example_is_left_over() -> None:
    """Every path that has examples is one of a command."""
    assert set(EXAMPLES) == set(COMMANDS)


@pytest.mark.parametrize("path", LEAVES)
def test_each_command_prints_json(path: str) -> None:
    """Whatever a command prints, it prints as JSON for a script."""
    assert any("--json" in each.opts for each in LEAVES[path].params)


def test_the_version_has_a_short_option() -> None:
    """`-V` prints the version, as `--version` does."""
    for option in ("-V", "--version"):
        assert CliRunner().invoke(app, [option]).stdout == f"nexmo-dispatch {__version__}\n"


def test_a_shell_completes_commands_and_options() -> None:
    """The completion that `--install-completion` installs knows the commands and their options."""
    for words, expected in (("nexmo-dispatch tri", "trigger"), ("nexmo-dispatch inbox list --st", "--state")):
        done = subprocess.run(
            [sys.executable, "-m", "nexmo_dispatch_async.cli"],
            env={
                **os.environ,
                "_NEXMO_DISPATCH_COMPLETE": "complete_bash",
                "COMP_WORDS": words,
                "COMP_CWORD": str(len(words.split()) - 1),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert expected in done.stdout.split()
    assert "--install-completion" in help_of(ROOT_NAME)


@pytest.mark.parametrize("arguments", ["demo", "demo --json"])
def test_a_reader_that_leaves_is_no_failure(arguments: str) -> None:
    """`demo | head` ends with 0 and says nothing on standard error."""
    command = f"{shlex.quote(sys.executable)} -m nexmo_dispatch_async.cli {arguments}"
    script = f"{command} | head -n 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)

    assert done.stdout.splitlines()[-1] == "0"
    assert done.stderr == ""


def test_a_wrong_command_line_is_named_whole() -> None:
    """The message of a mistake is one line, not a box that cuts it, and the exit code is 2."""
    done = CliRunner().invoke(app, ["send"], prog_name=ROOT_NAME)

    assert done.exit_code == 2
    assert "Error: Missing argument" in done.stderr
    assert "─" not in done.stderr


@pytest.mark.parametrize("path", LEAVES)
def test_the_message_of_a_mistake_begins_with_the_usage_of_the_help(path: str) -> None:
    """A value has one name: in the help and above a message."""
    done = CliRunner().invoke(app, [*path.split()[1:], "--no-such-option"], prog_name=ROOT_NAME)

    usage = " ".join(done.stderr.partition("Try ")[0].split())
    assert done.exit_code == 2
    assert usage == " ".join(help_of(path).partition("\n\n")[0].split())


@pytest.mark.parametrize(
    "line", ["trigger bogus", "doctor --only bogus", "inbox list inbox.db --state bogus"]
)
def test_a_value_that_is_none_of_a_list_is_named_in_our_own_words(line: str) -> None:
    """Without those of the library that checks it."""
    done = CliRunner().invoke(app, line.split(), prog_name=ROOT_NAME)

    assert done.exit_code == 2
    assert ": 'bogus' is not one of '" in done.stderr


def test_the_help_of_a_report_says_which_forms_list_people() -> None:
    """The words of a report count people by reason: options of the lists name the forms that have lists."""
    said = {each.name: each.help for each in COMMANDS["nexmo-dispatch bulk report"].params}

    assert "in --html, --csv and --json" in said["missed"]
    assert "in --html, --csv and --json" in said["with_addresses"]
    assert "bulk export --missed" in said["missed"]
