"""docs/runbook.md names everything that can wake a person, and only commands that exist."""

import ast
import importlib
import os
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from shlex import quote
from typing import get_args

import pytest
import typer.main

import nexmo_dispatch_async
import nexmo_dispatch_webhooks
from nexmo_dispatch_async.bulk.progress import WaitReason
from nexmo_dispatch_async.cli.app import app
from nexmo_dispatch_async.urls import PlainHTTPWarning
from tests.support.pages import PAGES, name_of
from tests.support.paths import ROOT

RUNBOOK = (ROOT / "docs" / "runbook.md").read_text("utf-8")
SOURCES = [
    ROOT / "nexmo_dispatch_async",
    ROOT / "nexmo_dispatch_core",
    ROOT / "webhooks" / "nexmo_dispatch_webhooks",
]
LOUD = {"warning", "error", "exception", "critical"}
LOUD_CALL = re.compile(rf"log\w*\s*\.\s*(?:{'|'.join(LOUD)})")
#: A line whose whole text is that of an object, as its `__str__` has it.
TEXTS_OF_OBJECTS = {"%s": "%s: cut short, outcome %s"}


def exceptions() -> set[str]:
    """Return the names of all exceptions that users may meet: those below the bases, and the public ones."""
    for package in (nexmo_dispatch_async, nexmo_dispatch_webhooks):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    unread: list[type[BaseException]] = [
        nexmo_dispatch_async.DispatchError,
        nexmo_dispatch_webhooks.WebhookError,
    ]
    found: set[str] = {PlainHTTPWarning.__name__}
    while unread:
        kind = unread.pop()
        unread += kind.__subclasses__()
        if not kind.__name__.startswith("_") and kind.__module__.startswith("nexmo_dispatch_"):
            found.add(kind.__name__)
    return found


def loud_lines() -> Iterator[tuple[str, str]]:
    """Yield the file and the format of each log line at WARNING or above."""
    for path in sorted(file for source in SOURCES for file in source.rglob("*.py")):
        text = path.read_text("utf-8")
        if not LOUD_CALL.search(text):
            continue
        for node in ast.walk(ast.parse(text)):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
                continue
            owner = node.func.value
            if (
                node.func.attr in LOUD
                and isinstance(owner, ast.Name)
                and owner.id in {"logger", "log", "_log"}
            ):
                first = node.args[0]
                assert isinstance(first, ast.Constant), (
                    f"{path.name}:{node.lineno}: write the format as one text"
                )
                yield name_of(path), str(first.value)


def shown(line: str) -> str:
    """Return a format as the runbook shows it."""
    return re.sub(r"%(?:\.\d+)?[a-z]", "…", TEXTS_OF_OBJECTS.get(line, line))


def commands() -> Iterator[tuple[Path, str, str]]:
    """Yield each call of the command on any page: the page, the command, and the word after it."""
    for page in PAGES:
        for found in re.finditer(r"nexmo-dispatch ([a-z]+)(?: ([a-z-]+))?", page.read_text("utf-8")):
            yield page, found[1], found[2] or ""


def test_every_exception_has_a_cure() -> None:
    """Each stands at the beginning of a row."""
    named = set(re.findall(r"^\| `(\w+)` \|", RUNBOOK, re.MULTILINE))

    assert exceptions() - named == set()
    assert len(exceptions()) > 60


def test_no_exception_of_the_runbook_is_gone() -> None:
    """A row for what is raised no more would mislead."""
    named = {
        name
        for name in re.findall(r"^\| `(\w+)` \|", RUNBOOK, re.MULTILINE)
        if name.endswith(("Error", "Warning"))
    }

    assert named - exceptions() - {"PlaceholderError"} == set()  # it is no DispatchError


def test_every_loud_log_line_has_a_cure() -> None:
    """A line at WARNING or above stands in the runbook, word for word; the search sees both loggers."""
    lines, runbook = sorted(set(loud_lines())), collapsed(RUNBOOK)

    assert [at for at in lines if f"| `{collapsed(shown(at[1]))}` |" not in runbook] == []
    assert len(lines) > 35


def collapsed(text: str) -> str:
    """Return a text in which several variable parts in a row are one."""
    return re.sub("…+", "…", text)


def test_every_reason_to_wait_has_a_cure() -> None:
    """What `bulk status` says of a campaign that stands still is explained, and nothing else."""
    section = RUNBOOK.split("## Why a campaign waits", 1)[1].split("\n## ", 1)[0]

    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(get_args(WaitReason))


@pytest.mark.parametrize(
    ("symptom", "words"),
    [
        ("callbacks arrive and are refused", ("401 is gone", "wrong_signature=503", "24 hours")),
        ("`lag` grows", ("over a restart", "nexmo-dispatch inbox retry inbox.db all")),
        ("callbacks are taken, and nothing happens", ("hangs", "handler_timeout")),
        ("a customer got a message twice", ("same_address",)),
        ("unknown rows in a campaign", ("bulk listen FILE", "20 minutes", "before its 200")),
    ],
)
def test_a_symptom_says_what_is_lost_and_how_long_to_wait(symptom: str, words: tuple[str, ...]) -> None:
    """The person on call decides by this row alone."""
    (row,) = [line for line in RUNBOOK.splitlines() if line.startswith(f"| {symptom} |")]

    assert [each for each in words if each not in row] == []


def test_the_number_of_lines_that_a_burst_left_out_is_told_to_come_late() -> None:
    """It stands on the next line with that cause; the page names what counts all of them at once."""
    of_sdk, of_receiver = re.findall(r"^## Log lines of the \w+\n\n((?:.+\n)+)", RUNBOOK, re.MULTILINE)

    assert "the next one says how many" in " ".join(of_sdk.split())
    words = " ".join(of_receiver.split())
    assert "at the end of the next line, so of a short burst nowhere" in words
    assert "`nexmo-dispatch inbox summary FILE` counts" in words


@pytest.mark.skipif(sys.platform != "linux", reason="a process shows its environment under /proc")
def test_the_environment_of_a_process_is_loaded_as_it_is() -> None:
    """Signs that a shell reads otherwise, and a value of several lines, arrive unchanged."""
    (line,) = [line for line in RUNBOOK.splitlines() if "/proc/PID/environ" in line]
    values = {"SECRET": "a $HOME \"b\" 'c'", "KEY": "first\nsecond=\n"}
    pipe = subprocess.PIPE
    bare = {"PATH": os.environ["PATH"]}
    print_both = f"import os; print([os.environ[name] for name in {list(values)!r}])"
    with subprocess.Popen(["cat"], stdin=pipe, env=bare | values) as service:
        load = line.replace("PID", str(service.pid))
        command = ["bash", "-c", f"{load}\nexec {quote(sys.executable)} -c {quote(print_both)}"]
        shell = subprocess.run(command, check=True, env=bare, stdout=pipe, text=True, timeout=60)
        service.communicate()

    assert ast.literal_eval(shell.stdout) == list(values.values())


def commands_of(group: object) -> Mapping[str, object]:
    """Return the commands of a group; none for a command: typer has a click of its own."""
    found: Mapping[str, object] = getattr(group, "commands", {})
    return found


def test_every_command_of_the_pages_exists() -> None:
    """A command that a page tells a reader to run is one; so is the second word of a group."""
    known = commands_of(typer.main.get_command(app))
    wrong: list[str] = []
    for page, name, second in commands():
        nested = commands_of(known.get(name))
        if name not in known or (nested and second and second not in nested):
            wrong.append(f"{page.name}: {name} {second}")

    assert wrong == []


@pytest.mark.parametrize(
    "word",
    [
        *("400", "401", "402", "403", "404", "407", "408", "413", "415", "429", "502", "503", "504"),
        *(
            "abort_if",
            "invalid_client",
            "client_max_body_size",
            "read-only",
            "webhook-path",
            "max_spend",
            "--test",
        ),
    ],
)
def test_what_a_person_types_into_the_search_is_on_the_page(word: str) -> None:
    """The words of logs, proxies and `doctor`, and statuses by number."""
    assert re.search(rf"(?<![\w-]){re.escape(word)}(?![\w])", RUNBOOK)
